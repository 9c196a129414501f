"""The comparison table and the ``models`` of metrics.json."""

import json

import pytest
from rich.console import Console

from recsys.evaluation.table import (
    BEYOND,
    comparison_markdown,
    comparison_table,
    models_summary,
    trade_off_table,
)

RESULTS = {
    "two-tower": {
        0: {"ndcg@10": 0.25, "coverage@10": 0.5, "fit_seconds": 10.0},
        7: {"ndcg@10": 0.27, "coverage@10": 0.4, "fit_seconds": 12.0},
    },
    "popularity": {0: {"ndcg@10": 0.11, "coverage@10": 0.6, "fit_seconds": 0.01}},
}


def test_summary_has_means_and_every_seed() -> None:
    models = models_summary(RESULTS)
    assert list(models) == ["two-tower", "popularity"]
    tower = models["two-tower"]
    assert tower["ndcg@10"] == pytest.approx(0.26)
    assert tower["fit_seconds"] == 11.0
    assert tower["per_seed"]["7"]["coverage@10"] == 0.4
    assert models["popularity"]["per_seed"] == {"0": RESULTS["popularity"][0]}
    assert json.loads(json.dumps(models, allow_nan=False)) == models


def test_what_is_undefined_for_a_seed_has_no_mean() -> None:
    seeds = {0: {"ndcg@10": 0.1, "diversity@10": 0.5}, 1: {"ndcg@10": 0.3}}
    ease = models_summary({"ease": seeds})["ease"]
    assert ease == {"ndcg@10": 0.2, "per_seed": {"0": seeds[0], "1": seeds[1]}}


def test_summary_refuses_seeds_that_measured_different_things() -> None:
    with pytest.raises(ValueError, match="ease: seeds must share metrics"):
        models_summary({"ease": {0: {"ndcg@10": 0.1}, 1: {"hr@10": 0.1}}})
    with pytest.raises(ValueError, match="ease: seeds must share metrics"):
        models_summary({"ease": {}})


def test_markdown() -> None:
    assert comparison_markdown(RESULTS).splitlines() == [
        "| model | ndcg@10 | coverage@10 | fit_seconds |",
        "|---|---:|---:|---:|",
        "| two-tower | .2600 (.2500-.2700) | .4500 (.4000-.5000) | 11.0 (10.0-12.0) |",
        "| popularity | .1100 | .6000 | 0.0 |",
    ]


def test_a_metric_that_a_model_lacks_is_a_dash() -> None:
    lines = comparison_markdown({"a": {0: {"hr@10": 1.0}}, "b": {0: {"mrr@10": 0.5}}}).splitlines()
    assert lines[2:] == ["| a | 1.0000 | - |", "| b | - | .5000 |"]


def test_terminal_table_fits_80_characters_and_marks_the_best() -> None:
    full = {
        model: {
            seed: {**dict.fromkeys(("recall_capped@20", "hr@10"), 0.123456), **values}
            for seed, values in per_seed.items()
        }
        for model, per_seed in {**RESULTS, "two-tower-exact": RESULTS["two-tower"]}.items()
    }
    console = Console(width=80, force_terminal=True, color_system="standard", legacy_windows=False)
    with console.capture() as capture:
        console.print(comparison_table(full, title="943 users"))
    text = capture.get()
    assert "…" not in text
    assert "two-tower-exact" in text
    assert "\x1b[1m.2600\x1b[0m" in text  # best NDCG
    assert "\x1b[1m.6000\x1b[0m" in text  # best coverage is another model's
    assert "\x1b[1m11.0" not in text  # slow is not best
    assert ".2500-.2700" in text


def test_trade_off_table_shows_means_in_80_characters() -> None:
    beyond = {
        "novelty@10": 12.3456,
        "coverage@10": 0.1234,
        "gini@10": 0.98761,
        "arp_lift@10": -0.126,
        "diversity@10": 0.7654,
        "serendipity@10": 0.0123,
    }
    results = {
        model: {seed: {**values, **beyond} for seed, values in per_seed.items()}
        for model, per_seed in {**RESULTS, "two-tower-exact": RESULTS["two-tower"]}.items()
    }
    table = trade_off_table({**results, "popularity": {0: {**beyond, "arp_lift@10": 2.0}}})
    console = Console(width=80, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    lines = [line.split() for line in capture.get().splitlines()]
    heads = ["model", "ndcg", "novelty", "coverage", "gini", "arp", "lift", "diversity"]
    assert heads in lines
    values = ["12.35", ".1234", ".9876", "-0.13", ".7654"]
    assert ["two-tower-exact", ".2600", *values] in lines
    assert ["popularity", "-", *values[:3], "+2.00", values[4]] in lines
    assert "serendipity@10" in comparison_markdown(results, columns=BEYOND)


def test_no_trade_off_table_where_nothing_of_it_was_measured() -> None:
    assert trade_off_table(RESULTS) is None
