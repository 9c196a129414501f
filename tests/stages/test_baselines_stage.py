"""Which baselines are asked for, and which are too slow to ask for unasked."""

import pytest

from recsys.config import Config
from recsys.stages import baselines
from recsys.stages.baselines import baselines_of


def config_of(**evaluation: object) -> Config:
    return Config.model_validate(
        {
            "data": {"interactions": "log.csv"},
            "content": {"text": {"columns": ["name"], "encoder": "categories"}},
            "evaluation": evaluation,
        }
    )


def test_the_kernel_ridge_is_left_out_of_large_catalogues_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(baselines, "RIDGE_UP_TO", 10)
    unasked, asked = config_of(), config_of(baselines=["content-ridge", "ease"])
    all_of_them = baselines_of(unasked)
    assert "content-ridge" in all_of_them
    assert baselines.not_too_slow(all_of_them, unasked, 10) == all_of_them
    kept = baselines.not_too_slow(all_of_them, unasked, 11)
    assert set(all_of_them) - set(kept) == {"content-ridge"}
    assert "content-ridge: left out" in caplog.text
    named = baselines_of(asked)
    assert baselines.not_too_slow(named, asked, 11) == named
