import subprocess
import sys

import pytest

from recsys.content.encoders import ENCODERS, encoder_family, make_encoder
from recsys.content.family import Wanted
from recsys.errors import ConfigError


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        make_encoder("elmo")
    for prefix in ENCODERS:
        assert prefix in str(error.value)


@pytest.mark.parametrize(
    ("name", "usage"),
    [("sbert", "sbert:MODEL"), ("sbert:", "sbert:MODEL"), ("numbers:3", "numbers")],
)
def test_a_name_used_wrongly(name: str, usage: str) -> None:
    with pytest.raises(ConfigError, match=f"write '{usage}'"):
        encoder_family(name)


def test_a_model_may_hold_colons() -> None:
    assert encoder_family("sbert:C:/models/mine").modality == "text"


def test_families_are_named_by_what_stands_before_the_colon() -> None:
    for prefix, family in ENCODERS.items():
        assert family.usage.partition("[")[0].partition(":")[0] == prefix
        assert family.description


def test_structured_encoders_are_fitted_on_what_they_encode() -> None:
    categories = make_encoder("categories", Wanted(contents=[("a",), ("a",)]))
    numbers = make_encoder("numbers", Wanted(contents=[(1.0, 2.0), (3.0, 4.0)]))
    assert categories.dim == 1 and numbers.dim == 18


def test_naming_a_text_encoder_does_not_wait_for_torch() -> None:
    code = "import sys, recsys.content.encoders; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
