"""BERT, DistilBERT and GPT-2: parity with transformers as it is usually called."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.config import EncoderOptions
from recsys.content.family import Wanted
from recsys.content.random_networks import random_network, random_tokenizer
from recsys.content.text.families import TEXT_ENCODERS
from recsys.content.text.transformer import (
    POOLINGS,
    embedding_tables,
    transformer_encoder,
)
from recsys.errors import ConfigError

TEXTS = ["Alien. 1979.", "a", "In space no one can hear you scream " * 9, "你好 😀", "Toy Story"]
Pooling = Literal["mean", "max", "cls", "last", "pooler", "static"]
ALL: list[tuple[str, Pooling]] = [
    (family, pooling)
    for family, poolings in POOLINGS.items()
    for pooling in get_args(Pooling)
    if pooling in poolings
]


def wanted(model: str | Path, pooling: Pooling | None = None) -> Wanted:
    return Wanted(str(model), options=EncoderOptions(pooling=pooling))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks with random weights, saved by transformers."""
    root = tmp_path_factory.mktemp("networks")
    for family in POOLINGS:
        random_network(family).save_pretrained(root / family)
        random_tokenizer(family).save_pretrained(root / family)
    return {family: root / family for family in POOLINGS}


def one_by_one(folder: Path, pooling: str) -> NDArray[np.float32]:
    """The vectors of TEXTS, each computed alone: no padding, so nothing to mask."""
    from transformers import AutoModel, AutoTokenizer

    network: Any = AutoModel.from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            output = network(**tokens)
            (hidden,) = output.last_hidden_state
            ids = tokens["input_ids"][0]
            words = ids if folder.name == "gpt2" else ids[1:-1]
            if pooling == "mean":
                vectors.append(hidden.mean(0))
            elif pooling == "max":
                vectors.append(hidden.max(0).values)
            elif pooling == "pooler":
                vectors.append(output.pooler_output[0])
            elif pooling == "static":
                vectors.append(network.get_input_embeddings().weight[words].mean(0))
            else:
                vectors.append(hidden[0 if pooling == "cls" else -1])
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize(("family", "pooling"), ALL)
def test_parity_with_transformers(family: str, pooling: Pooling, folders: dict[str, Path]) -> None:
    vectors, present, *_ = transformer_encoder(family, wanted(folders[family], pooling)).encode(
        TEXTS
    )
    assert present.all()
    np.testing.assert_allclose(vectors, one_by_one(folders[family], pooling), atol=1e-5)


@pytest.mark.parametrize("family", POOLINGS)
def test_what_is_saved_is_what_is_random(family: str, folders: dict[str, Path]) -> None:
    saved = transformer_encoder(family, wanted(folders[family]))
    random = transformer_encoder(family, wanted("random:tiny"))
    np.testing.assert_allclose(saved.encode(TEXTS).vectors, random.encode(TEXTS).vectors, atol=1e-6)
    assert random.name == f"random:{family}:tiny/{POOLINGS[family][0]}/text-v1"
    assert saved.name.startswith(f"{family}:{family}@")


@pytest.mark.parametrize(("family", "pooling"), ALL)
def test_a_vector_does_not_depend_on_its_batch(family: str, pooling: Pooling) -> None:
    encoder = transformer_encoder(family, wanted("random:tiny", pooling))
    state = torch.get_rng_state()
    together = encoder.encode([*TEXTS, None, *TEXTS, ""]).vectors
    assert torch.equal(state, torch.get_rng_state())  # making a random network draws from its own
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])
    assert len({row.tobytes() for row in alone}) == len(TEXTS)
    np.testing.assert_allclose(together[:5], alone, atol=1e-5)
    np.testing.assert_allclose(together[6:11], alone, atol=1e-5)
    again = transformer_encoder(family, wanted("random:tiny", pooling))
    np.testing.assert_array_equal(together, again.encode([*TEXTS, None, *TEXTS, ""]).vectors)


def test_more_texts_than_a_batch() -> None:
    encoder = transformer_encoder("bert", wanted("random:tiny"))
    texts = [f"{'x' * (number % 13)} {number}" for number in range(100)]
    singly = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(encoder.encode(texts).vectors, singly, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_static_vectors_know_no_order_and_no_context(family: str) -> None:
    encoder = transformer_encoder(family, wanted("random:tiny", "static"))
    a, b, both, other = encoder.encode(["a", "b", "ba", "ab"]).vectors
    if family == "gpt2":
        np.testing.assert_allclose(both, (a + b) / 2, atol=1e-6)
        np.testing.assert_allclose(both, other, atol=1e-6)
    tables = embedding_tables(f"random:{family}:tiny")
    (token,) = random_tokenizer(family)("a", add_special_tokens=False)["input_ids"]
    np.testing.assert_array_equal(a, tables.tokens[token])


def test_a_text_of_which_static_knows_no_token() -> None:
    encoder = transformer_encoder("bert", wanted("random:tiny", "static"))
    vectors, present, reasons, _ = encoder.encode(["a film", "\u200b\u200b \u200d"])
    assert present.tolist() == [True, False] and not vectors[1].any()
    assert reasons == {1: "no known word"}


def test_tables_sum_to_what_the_first_layer_reads() -> None:
    network, tokenizer = random_network("bert"), random_tokenizer("bert")
    tables = embedding_tables("random:bert:tiny")
    assert tables.positions.shape == (64, 32) and tables.segments.shape == (2, 32)
    ids = tokenizer("a film")["input_ids"]
    total = tables.tokens[ids] + tables.positions[: len(ids)] + tables.segments[0]
    centred = total - total.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt(total.var(axis=1, keepdims=True) + 1e-12)
    with torch.no_grad():
        read = network.embeddings(torch.tensor([ids])).numpy()[0]
    np.testing.assert_allclose(normed, read, atol=1e-4)


def test_tables_of_the_others(folders: dict[str, Path]) -> None:
    tables = embedding_tables(f"gpt2:{folders['gpt2']}")
    assert [table.shape for table in tables] == [(257, 32), (64, 32), (0, 32)]
    distil = embedding_tables("random:distilbert:tiny")
    assert distil.positions.shape == (64, 32) and distil.segments.shape == (0, 32)
    with pytest.raises(ConfigError, match="has no tables"):
        embedding_tables("sbert:all-MiniLM-L6-v2")


STRANGE = st.text(st.characters(codec=None), max_size=200) | st.binary(max_size=200).map(
    lambda raw: raw.decode("latin-1")
)
READERS = [
    transformer_encoder("bert", wanted("random:tiny")),
    transformer_encoder("gpt2", wanted("random:tiny", "static")),
]


@settings(deadline=None, max_examples=30)
@given(st.lists(STRANGE, max_size=4))
def test_any_text_has_a_vector_or_a_reason(texts: list[str]) -> None:
    for encoder in READERS:
        vectors, present, reasons, _ = encoder.encode(texts)
        assert vectors.shape == (len(texts), 32) and np.isfinite(vectors).all()
        assert set(reasons) == set(np.flatnonzero(~present))
        assert not vectors[~present].any()


@pytest.mark.parametrize("family", POOLINGS)
def test_long_binary_broken_texts(family: str) -> None:
    texts = ["word " * 200_000, "\x00\x01\x7f" * 500, "half \ud83d of an emoji", "👩‍👩‍👧"]
    vectors, present, reasons, _ = transformer_encoder(family, wanted("random:tiny")).encode(texts)
    assert present.tolist() == [True, False, True, True] and np.isfinite(vectors).all()
    assert reasons == {1: "binary, not text"}


@pytest.mark.parametrize(
    ("family", "pooling"), [("gpt2", "cls"), ("distilbert", "pooler"), ("bert", "sif")]
)
def test_a_pooling_that_it_has_not(family: str, pooling: str) -> None:
    options = EncoderOptions.model_validate({"pooling": pooling})
    with pytest.raises(ConfigError, match=f"pooling = '{pooling}': expected one of"):
        transformer_encoder(family, Wanted("random:tiny", options=options))


def test_a_network_of_another_family(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="holds 'gpt2', expected 'bert'"):
        transformer_encoder("bert", wanted(folders["gpt2"]))


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    """Transformers would fill them with random numbers, and say so in a log."""
    from transformers import BertModel

    network = random_network("bert")
    BertModel(network.config, add_pooling_layer=False).save_pretrained(tmp_path)
    random_tokenizer("bert").save_pretrained(tmp_path)
    assert transformer_encoder("bert", wanted(tmp_path)).encode(["a"]).present.all()
    with pytest.raises(ConfigError, match=r"lacks 2 weights, pooler\.dense\.bias first"):
        transformer_encoder("bert", wanted(tmp_path, "pooler")).encode(["a"])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match="lacks 16 weights"):
        transformer_encoder("bert", wanted(tmp_path)).encode(["a"])


def test_folders_that_are_damaged(tmp_path: Path) -> None:
    random_network("bert").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="holds no tokenizer"):
        transformer_encoder("bert", wanted(tmp_path)).encode(["a"])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot read its tokenizer"):
        transformer_encoder("bert", wanted(tmp_path)).encode(["a"])
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="transformers cannot load it"):
        transformer_encoder("bert", wanted(tmp_path)).encode(["a"])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"no readable config\.json"):
        transformer_encoder("bert", wanted(tmp_path))


def test_making_one_is_light_and_loading_says_nothing(
    folders: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    code = f"""
import sys
from recsys.content.encoders import make_encoder
make_encoder("bert:{folders["bert"]}"); make_encoder("random:gpt2:tiny")
print({{"torch", "transformers", "tokenizers"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    transformer_encoder("bert", wanted(folders["bert"])).encode(["a film"])
    assert capfd.readouterr() == ("", "")


def test_families_say_what_they_obey() -> None:
    for family, poolings in POOLINGS.items():
        assert TEXT_ENCODERS[family].options == {"pooling"} and TEXT_ENCODERS[family].has_random
        assert TEXT_ENCODERS[family].description.endswith(f": {', '.join(poolings)}")
