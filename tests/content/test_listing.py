"""The list of encoders says of each whether it works here, without loading anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from recsys.content.encoders import ENCODERS, encoder_family
from recsys.content.family import EncoderFamily, Listed
from recsys.content.listing import listed_encoders
from recsys.content.weights.known import KNOWN


def family(**changes: object) -> EncoderFamily:
    def make(wanted: object) -> None:
        raise AssertionError("an encoder was made to be listed")

    fields: dict[str, object] = {
        "usage": "net:MODEL",
        "modality": "audio",
        "description": "a net",
        "paper": "Somebody, 1999",
        "make": make,
        "models": (Listed("", None),),
    }
    return EncoderFamily(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECSYS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_every_model_of_every_family_is_listed() -> None:
    rows = listed_encoders()
    assert len(rows) == sum(len(one.models) for one in ENCODERS.values())
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert encoder_family(row.name).modality == row.modality  # can be written so in a config
        assert row.width is None or row.width > 0


def test_listed_weights_are_in_the_catalogue() -> None:
    named = {model.weights for one in ENCODERS.values() for model in one.models}
    assert named - {None} <= KNOWN.keys()


def test_a_row_says_all() -> None:
    models = (Listed("", None), Listed("big", 7, "resnet50"))
    (first, second) = listed_encoders(
        {"net": family(models=models, extra="audio", options=frozenset({"width", "pooling"}))}
    )
    assert (first.name, second.name) == ("net", "net:big")
    assert (first.width, second.width) == (None, 7)
    assert first.install == ('pip install "recsys[audio]"',)
    assert second.install == ('pip install "recsys[audio]"', "recsys weights fetch resnet50")
    assert (first.extra, first.weights, second.weights) == ("audio", None, "resnet50")
    assert first.options == ("pooling", "width")
    assert (first.offline, second.offline) == (True, False)


@pytest.mark.parametrize(
    ("changes", "offline"),
    [
        ({}, True),
        ({"requires": ("json", "torch")}, True),
        ({"requires": ("json", "no_such_module")}, False),
        ({"models": (Listed("x", 1, "nobody/nothing"),)}, False),
    ],
)
def test_offline_is_what_is_here(changes: dict[str, object], offline: bool) -> None:
    (row,) = listed_encoders({"net": family(**changes)})
    assert row.offline is offline


def test_offline_follows_the_weights(no_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline() -> bool:
        (row,) = listed_encoders({"net": family(models=(Listed("m", 1, "vggish"),))})
        return row.offline

    assert not offline()
    file = no_weights / "vggish" / KNOWN["vggish"].inside
    file.parent.mkdir()
    file.write_bytes(b"1234")
    record = f'{{"files": {{"{file.name}": {{"size": 4}}}}}}'
    (file.parent / "fetched.json").write_text(record)
    assert offline()
    file.write_bytes(b"12")  # damaged
    assert not offline()


def test_weights_inside_a_package_need_no_fetch() -> None:
    models = (Listed("", 384, "multilingual-e5-small"),)
    (row,) = listed_encoders({"e5": family(models=models, extra="text", usage="e5")})
    assert row.install == ('pip install "recsys[text]"',) and row.weights is None


def test_listing_imports_nothing_heavy() -> None:
    heavy = (
        "pandas",
        "torch",
        "transformers",
        "timm",
        "gensim",
        "sentence_transformers",
        "soundfile",
        "sklearn",
    )
    code = (
        "import sys; from recsys.content.listing import listed_encoders; listed_encoders();"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
