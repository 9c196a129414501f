"""Vectors of character n-grams: what is known of a word that was never seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

__all__ = ["Subwords", "borrowed_subwords"]

BORROWED_FROM = 100_000  # words whose n-grams are looked at; lists begin with the frequent ones
BUCKETS = 2**20  # of n-grams borrowed: those that fall in one bucket count as one
LENGTHS = (3, 6)  # letters of an n-gram, the ends of the word included (Bojanowski et al., 2017)

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Subwords:
    """Vectors of n-grams by fastText's hash.

    Attributes:
        table: float32 ``(buckets, dim)``.
        shortest: letters of the shortest n-grams, ``<`` and ``>`` at the ends of a word included.
        longest: of the longest.
    """

    table: Floats
    shortest: int
    longest: int

    def mean(self, words: Sequence[str]) -> Floats:
        """Return the mean of the n-grams of each word ``(words, dim)``, NaN if it has none."""
        from gensim.models.fasttext import ft_ngram_hashes

        made = np.full((len(words), self.table.shape[1]), np.nan, dtype=np.float32)
        for row, word in enumerate(words):
            hashes = ft_ngram_hashes(word, self.shortest, self.longest, len(self.table))
            if len(hashes):
                made[row] = self.table[hashes].mean(axis=0, dtype=np.float64)
        return made


def borrowed_subwords(words: Sequence[str], vectors: Floats) -> Callable[[Sequence[str]], Floats]:
    """Make n-gram vectors where none were learnt: an n-gram is the mean of the words it is in.

    Args:
        words: known words, the most frequent first; the first 100,000 count.
        vectors: float32 ``(words, dim)``.

    Returns:
        A function from ``u`` words to vectors ``(u, dim)``: the mean of their n-grams that any
        known word contains; NaN where there is none.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    ngrams = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=LENGTHS,
        n_features=BUCKETS,
        binary=True,
        norm=None,
        alternate_sign=False,
        lowercase=False,
        dtype=np.float64,
    )
    contained = ngrams.transform(words[:BORROWED_FROM])  # (words, buckets), 1 where contained
    within = np.asarray(contained.sum(axis=0)).ravel()
    known = vectors[: contained.shape[0]].astype(np.float64)
    of_words = csr_array(contained).T.tocsr()  # (buckets, words)

    def mean(unknown: Sequence[str]) -> Floats:
        held = csr_array(ngrams.transform(unknown))  # (u, buckets)
        held = held @ diags_array(within > 0, dtype=np.float64)
        shares = diags_array(1.0 / np.maximum(within, 1.0))
        sums = ((held @ shares) @ of_words) @ known
        with np.errstate(invalid="ignore"):  # 0 / 0: no n-gram is known
            means: Floats = (sums / held.sum(axis=1)[:, None]).astype(np.float32)
        return means

    return mean
