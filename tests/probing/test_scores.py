"""Probes: parity with scikit-learn, AUC by plain loops, nothing leaks, constants have .50."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from recsys.probing.auc import auc, macro_auc, macro_auc_figure
from recsys.probing.figures import resamples
from recsys.probing.labels import Labels
from recsys.probing.scores import (
    Loss,
    fit_linear,
    linear_scores,
    neighbour_scores,
    standardise,
    stratified_folds,
)

LOSSES: tuple[Loss, ...] = ("logistic", "squared hinge")


def make_labelled(n: int = 300, d: int = 6, seed: int = 0) -> tuple[NDArray[np.float32], Labels]:
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n, d)).astype(np.float32)
    logits = vectors @ draw.normal(size=(d, 3)) + np.array([0.0, -1.5, 1.0])
    carried = draw.random((n, 3)) < 1 / (1 + np.exp(-logits))
    return vectors, Labels(("a", "b", "c"), carried, np.ones(n, np.bool_))


def test_auc_equals_a_loop_over_pairs_with_ties_counted_half() -> None:
    draw = np.random.default_rng(0)
    scores = draw.integers(5, size=40).astype(np.float64)
    positive = draw.random(40) < 0.3
    wins = [
        (ours > theirs) + (ours == theirs) / 2
        for ours in scores[positive]
        for theirs in scores[~positive]
    ]
    assert auc(scores, positive)[0] == pytest.approx(np.mean(wins))


def test_auc_of_counts_equals_that_of_repeated_items() -> None:
    draw = np.random.default_rng(1)
    scores = draw.integers(9, size=50).astype(np.float64)
    positive = draw.random(50) < 0.4
    counts = next(resamples(50, seed=2))[:20]
    found = auc(scores, positive, counts)
    for row, value in zip(counts.astype(int), found, strict=True):
        expected = roc_auc_score(np.repeat(positive, row), np.repeat(scores, row))
        assert value == pytest.approx(expected)


def test_labels_without_positives_are_left_out_of_the_mean() -> None:
    scores = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    carried = np.array([[False, False], [False, False], [True, False]])
    assert macro_auc(scores, carried).tolist() == [1.0]
    assert np.isnan(macro_auc(scores, np.zeros_like(carried))).all()


@pytest.mark.parametrize("cost", [0.01, 1.0])
def test_logistic_regression_equals_scikit_learns(cost: float) -> None:
    vectors, labels = make_labelled()
    inputs = vectors.astype(np.float64)
    used = stratified_folds(labels.carried) != 0
    signs = np.where(labels.carried, 1.0, -1.0)
    weights = fit_linear(inputs, signs, used, cost, "logistic", tolerance=1e-14)
    for label in range(3):
        on = used[:, label]
        theirs = LogisticRegression(C=cost, tol=1e-10, max_iter=1000)
        theirs.fit(inputs[on], labels.carried[on, label])
        np.testing.assert_allclose(weights[1:, label], theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(weights[0, label], theirs.intercept_[0], atol=1e-4)


def test_the_svm_equals_scikit_learns() -> None:
    vectors, labels = make_labelled()
    inputs = vectors.astype(np.float64)
    signs = np.where(labels.carried, 1.0, -1.0)
    used = np.ones(labels.carried.shape, np.bool_)
    weights = fit_linear(inputs, signs, used, 0.1, "squared hinge", tolerance=1e-14)
    for label in range(3):
        # liblinear penalises the intercept too: hardly, where it is scaled by a large number.
        theirs = LinearSVC(C=0.1, dual=False, tol=1e-10, intercept_scaling=1e3, max_iter=10_000)
        theirs.fit(inputs, labels.carried[:, label])
        np.testing.assert_allclose(weights[1:, label], theirs.coef_[0], atol=1e-3)


def test_folds_are_stratified_for_every_label() -> None:
    _, labels = make_labelled(n=203)
    folds = stratified_folds(labels.carried, seed=3)
    for label in range(3):
        for carries in (True, False):
            of = folds[labels.carried[:, label] == carries, label]
            sizes = np.bincount(of, minlength=5)
            assert sizes.max() - sizes.min() <= 1
    assert (stratified_folds(labels.carried, seed=4) != folds).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_vectors_of_the_labels_score_1_and_constants_exactly_half(loss: Loss) -> None:
    _, labels = make_labelled(n=150)
    knowing = labels.carried.astype(np.float32)
    assert macro_auc(linear_scores(knowing, labels.carried, loss=loss), labels.carried)[0] > 0.999
    constant = np.full((150, 4), 0.7, np.float32)
    figure = macro_auc_figure(linear_scores(constant, labels.carried, loss=loss), labels.carried)
    assert figure[:4] == (0.5, 0.5, 0.5, 0.5)


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_are_out_of_fold(loss: Loss) -> None:
    """With as many columns as items a fit is perfect on what it saw, and knows nothing more."""
    draw = np.random.default_rng(5)
    noise = draw.normal(size=(120, 130)).astype(np.float32)
    carried = draw.random((120, 4)) < 0.4
    figure = macro_auc_figure(linear_scores(noise, carried, loss=loss), carried)
    assert 0.4 < figure.value < 0.6


def test_neighbours_score_as_a_plain_loop_and_leave_the_item_itself_out() -> None:
    vectors, labels = make_labelled(n=60)
    scores = neighbour_scores(vectors, labels.carried, k=7)
    centred = vectors - vectors.mean(axis=0)
    for item in range(60):
        cosines = centred @ centred[item] / np.linalg.norm(centred, axis=1)
        cosines[item] = -np.inf
        found = np.argsort(-cosines)[:7]
        np.testing.assert_allclose(scores[item], labels.carried[found].mean(axis=0))


def test_constant_vectors_tell_neighbours_nothing() -> None:
    draw = np.random.default_rng(6)
    carried = draw.random((500, 3)) < 0.3
    figure = macro_auc_figure(neighbour_scores(np.ones((500, 4), np.float32), carried), carried)
    assert figure.value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("shape", [(30, 5), (10, 25)])
def test_standardised_and_turned_rows_have_the_same_inner_products(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(7).normal(3.0, 5.0, size=shape).astype(np.float32)
    vectors[:, 0] = 4.0  # a constant column
    found = standardise(vectors)
    spread = np.where(vectors.std(axis=0) > 0, vectors.std(axis=0), 1.0)
    plain = (vectors - vectors.mean(axis=0)) / spread
    assert found.shape == (shape[0], min(shape))
    np.testing.assert_allclose(found @ found.T, plain @ plain.T, atol=1e-3)


def test_labels_know_which_are_frequent_and_which_are_rarest() -> None:
    lists = [("x", "y")] * 25 + [("x",)] * 40 + [("z",)] * 3 + [()] * 7
    labels = Labels.of(lists)
    assert labels.names == ("x", "y", "z")
    assert labels.known.sum() == 68
    kept = labels.take(np.flatnonzero(labels.known))
    assert kept.names == ("y",)  # x is carried by all but three, z by three
    assert labels.rarest().tolist() == [1] * 25 + [0] * 40 + [2] * 3 + [-1] * 7


def test_labels_of_nothing() -> None:
    labels = Labels.of([(), ()])
    assert labels.names == () and not labels.known.any()
    assert labels.rarest().tolist() == [-1, -1]
