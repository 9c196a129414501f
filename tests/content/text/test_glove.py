import math
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_texts import FARM, SPACE, make, small_texts

from recsys.content.text.glove import Pairs, cooccurrences, glove_loss, train_glove
from recsys.content.text.learned import Settings, frequent_words
from recsys.errors import DataError, TrainingDiverged

TEXTS = [text.split() for text in small_texts()]
WORDS = list(frequent_words(TEXTS))


def loss_by_a_loop(pairs: Pairs, words: np.ndarray, contexts: np.ndarray) -> float:
    """The sum of equation (8) of the paper; the last column is the bias."""
    loss = 0.0
    for i, j, x in zip(*pairs, strict=True):
        weight = (x / 10.0) ** 0.75 if x < 10.0 else 1.0
        dot = sum(float(w) * float(c) for w, c in zip(words[i][:-1], contexts[j][:-1], strict=True))
        loss += weight * (dot + float(words[i][-1] + contexts[j][-1]) - math.log(x)) ** 2
    return loss


def tables(width: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (len(WORDS), width + 1)
    return rng.standard_normal(shape), rng.standard_normal(shape)


def rows(table: np.ndarray, numbers: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(table[numbers])


def test_the_loss_is_what_a_loop_makes() -> None:
    pairs = cooccurrences(TEXTS, WORDS, window=4)
    assert pairs.counts.min() < 10 < pairs.counts.max()  # both sides of x_max
    words, contexts = tables()
    loss = glove_loss(
        rows(words, pairs.words), rows(contexts, pairs.contexts), torch.from_numpy(pairs.counts)
    )
    assert float(loss) == pytest.approx(loss_by_a_loop(pairs, words, contexts), rel=1e-6)


def test_small_steps_against_the_gradient_reduce_the_loss() -> None:
    pairs = cooccurrences(TEXTS, WORDS, window=4)
    i, j, x = map(torch.from_numpy, pairs)
    words, contexts = (torch.from_numpy(table).requires_grad_() for table in tables())
    losses = []
    for _ in range(20):
        loss = glove_loss(words[i], contexts[j], x)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, (words, contexts))
        with torch.no_grad():
            for table, gradient in zip((words, contexts), gradients, strict=True):
                table.sub_(gradient, alpha=1e-4)
    assert all(after < before for before, after in pairwise(losses))
    assert losses[-1] < 0.9 * losses[0]


def test_cooccurrences_are_what_a_loop_counts() -> None:
    texts = [["a", "b", "odd", "c", "a"], ["b"], [], ["c", "c", "b", "a"]]
    words, window = ["a", "b", "c"], 2
    expected: defaultdict[tuple[int, int], float] = defaultdict(float)
    for text in texts:
        known = [words.index(word) for word in text if word in words]
        for here, word in enumerate(known):
            for there, context in enumerate(known):
                if here != there and abs(here - there) <= window:
                    expected[word, context] += 1 / abs(here - there)
    pairs = cooccurrences(texts, words, window)
    found = {(int(i), int(j)): float(x) for i, j, x in zip(*pairs, strict=True)}
    assert found == pytest.approx(dict(expected))


@pytest.mark.parametrize("texts", [[], [["a"]], [["a"], ["a"]]])
def test_words_without_pairs_have_no_vector(texts: list[list[str]]) -> None:
    pairs = cooccurrences([*texts, ["b", "c"]], ["a", "b", "c"], window=3)
    vectors = train_glove(pairs, 3, Settings(width=3, epochs=2))
    assert vectors.shape == (3, 3) and np.isnan(vectors[0]).all() and np.isfinite(vectors[1:]).all()
    alone = cooccurrences(texts, ["a"], window=3)
    assert len(alone.counts) == 0
    assert np.isnan(train_glove(alone, 1, Settings(width=3, epochs=2))).all()


def test_the_encoder_knows_no_word_without_pairs() -> None:
    texts = ["alone", "alone", "moon star", "moon star"]
    encoded = make("glove", texts, width=3, epochs=2).encode(["alone", "alone moon", "moon"])
    assert encoded.present.tolist() == [False, True, True]
    np.testing.assert_array_equal(encoded.vectors[1], encoded.vectors[2])
    with pytest.raises(DataError, match="no two words"):
        make("glove", ["alone", "alone", "moon"], width=3)


def test_words_of_one_subject_become_alike() -> None:
    pairs = cooccurrences(TEXTS, WORDS, window=4)
    vectors = train_glove(pairs, len(WORDS), Settings(width=10, epochs=30, seed=3))
    assert vectors.shape == (len(WORDS), 10) and vectors.dtype == np.float32
    vectors -= vectors.mean(axis=0)  # what never occurs together has no term: nothing parts it
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    space, farm = ([WORDS.index(word) for word in subject] for subject in (SPACE, FARM))
    within = alike[np.ix_(space, space)][~np.eye(len(space), dtype=bool)].mean()
    assert within > alike[np.ix_(space, farm)].mean() + 0.3


def test_training_goes_on_with_every_epoch() -> None:
    pairs = cooccurrences(TEXTS, WORDS, window=4)
    one, two = (train_glove(pairs, len(WORDS), Settings(width=4, epochs=n)) for n in (1, 2))
    assert not np.allclose(one, two)


def test_a_loss_that_is_no_number_ends_training() -> None:
    pairs = Pairs(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, np.inf, np.float32))
    with pytest.raises(TrainingDiverged, match="glove"):
        train_glove(pairs, 1, Settings(width=3, epochs=1))


def test_the_encoder_separates_the_subjects() -> None:
    encoded = make("glove", width=10, epochs=10).encode([" ".join(SPACE), " ".join(FARM), "moon"])
    assert encoded.present.all()
    space, farm, moon = encoded.vectors
    assert np.linalg.norm(moon - space) < 0.5 * np.linalg.norm(moon - farm)
