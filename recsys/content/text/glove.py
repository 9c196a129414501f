"""GloVe learnt on the catalogue's own texts (Pennington, Socher and Manning, 2014).

Vectors ``w`` of words and ``c`` of contexts, with biases, such that ``w_i c_j + b_i + b_j`` is near
the logarithm of how often ``i`` and ``j`` occur near each other; a word's vector is ``w + c``.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from recsys.content.family import Wanted
from recsys.content.learnt import Arrays
from recsys.content.text.learned import (
    Settings,
    Texts,
    frequent_words,
    learnt_word_encoder,
    pack_words,
)
from recsys.content.text.text_encoder import TextEncoder
from recsys.errors import DataError, TrainingDiverged

__all__ = ["Pairs", "cooccurrences", "glove_encoder", "glove_loss", "train_glove"]

X_MAX = 10.0  # count from which a pair weighs 1: 100 in the paper, for a million times the words
POWER = 0.75  # by which rarer pairs weigh less
RATE = 0.05  # of AdaGrad, as in the paper
BATCH = 4096  # pairs of a step,
STEPS = 50  # or fewer, so that an epoch over a few texts has about as many steps


class Pairs(NamedTuple):
    """Pairs of words that occur near each other, each in both orders."""

    words: NDArray[np.int64]  # (pairs,)
    contexts: NDArray[np.int64]  # (pairs,)
    counts: NDArray[np.float32]  # (pairs,), weighted by 1 / distance, above 0


def glove_encoder(wanted: Wanted) -> TextEncoder:
    """Make GloVe of the catalogue.

    Raises:
        ConfigError: an option cannot be used.
        DataError: no word occurs twice in the training texts, or none near another that does.
    """

    def learn(texts: Texts, settings: Settings) -> Arrays:
        words = list(frequent_words(texts))
        pairs = cooccurrences(texts, words, settings.window)
        near = np.unique(pairs.words)  # of other words nothing can be learnt
        if not len(near):
            raise DataError(
                f"encoder glove: no two words that occur twice are near each other in the "
                f"{len(texts)} texts of training items; name other columns, or take tf-idf"
            )
        vectors = train_glove(pairs, len(words), settings)[near]
        return {"words": pack_words([words[number] for number in near]), "vectors": vectors}

    return learnt_word_encoder("glove", wanted, learn, window=10, epochs=30)


def cooccurrences(texts: Texts, words: list[str], window: int) -> Pairs:
    """Count which words occur near each other.

    Args:
        texts: lists of words; those not in ``words`` are left out before distances are measured.
        words: ``n`` words; a pair names them by number.
        window: the greatest distance, on both sides; at distance ``d`` a pair counts ``1 / d``.
    """
    numbers = {word: number for number, word in enumerate(words)}
    known = [[numbers[word] for word in text if word in numbers] for text in texts]
    flat = np.array([number for text in known for number in text], dtype=np.int64)
    text_of = np.repeat(np.arange(len(known)), [len(text) for text in known])
    total = csr_array((len(words), len(words)), dtype=np.float64)
    for distance in range(1, min(window, len(flat) - 1) + 1):
        near = text_of[:-distance] == text_of[distance:]
        left, right = flat[:-distance][near], flat[distance:][near]
        once = np.full(len(left), 1.0 / distance)
        total = total + csr_array((once, (left, right)), shape=total.shape)
    both = (total + total.T).tocoo()
    rows, columns = both.coords
    return Pairs(rows.astype(np.int64), columns.astype(np.int64), both.data.astype(np.float32))


def glove_loss(
    words: Tensor,
    contexts: Tensor,
    counts: Tensor,
    *,
    x_max: float = X_MAX,
    power: float = POWER,
) -> Tensor:
    """Return ``sum_p f(X_p) (w_p c_p + b_p + b'_p - log X_p)^2``.

    The weight of a pair is ``f(x) = min(x / x_max, 1)^power``.

    Args:
        words: of the first word of each pair vector and bias, ``(pairs, width + 1)``.
        contexts: of the second, likewise.
        counts: ``X``, ``(pairs,)``, above 0.
        x_max: the count from which a pair has full weight.
        power: ``alpha`` of the paper.
    """
    scores = (words[:, :-1] * contexts[:, :-1]).sum(1) + words[:, -1] + contexts[:, -1]
    weights = (counts / x_max).clamp(max=1.0) ** power
    return (weights * (scores - counts.log()) ** 2).sum()


def train_glove(pairs: Pairs, n_words: int, settings: Settings) -> NDArray[np.float32]:
    """Minimise the loss by AdaGrad over the pairs in random order.

    As in the authors' program every pair takes a step of its own; here those of a batch start from
    the same parameters.

    Returns:
        Vectors ``w + c``, float32 ``(n_words, width)``; NaN for a word that is in no pair.

    Raises:
        TrainingDiverged: the loss is no finite number any more.
    """
    dice = torch.Generator().manual_seed(settings.seed)
    shape = (n_words, settings.width + 1)  # the bias is the last column
    tables = [(torch.rand(shape, generator=dice) - 0.5) / settings.width for _ in range(2)]
    squares = [torch.ones(shape) for _ in range(2)]  # of past gradients, and 1 to begin with
    sides = [torch.from_numpy(pairs.words), torch.from_numpy(pairs.contexts)]
    counts = torch.from_numpy(pairs.counts)
    size = min(BATCH, len(counts) // STEPS + 1)
    for _ in range(settings.epochs):
        total = torch.zeros(())
        for batch in torch.split(torch.randperm(len(counts), generator=dice), size):
            rows = [
                table[side[batch]].requires_grad_()
                for table, side in zip(tables, sides, strict=True)
            ]
            loss = glove_loss(rows[0], rows[1], counts[batch])
            gradients = torch.autograd.grad(loss, rows)
            total += loss.detach()
            for table, square, side, gradient in zip(
                tables, squares, sides, gradients, strict=True
            ):
                square.index_add_(0, side[batch], gradient**2)
                step = gradient / square[side[batch]].sqrt()
                table.index_add_(0, side[batch], step, alpha=-RATE)
        if not torch.isfinite(total):
            raise TrainingDiverged("encoder glove: the loss is no finite number any more")
    vectors: NDArray[np.float32] = (tables[0] + tables[1])[:, :-1].numpy()
    vectors[np.bincount(pairs.words, minlength=n_words) == 0] = np.nan
    return vectors
