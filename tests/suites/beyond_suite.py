"""Lists, content and a log for what is measured beyond accuracy."""

import numpy as np

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.evaluation.aspects import Aspects
from suites.evaluation_suite import N, random_task

EVERYBODY = np.ones(N, dtype=np.bool_)
K = 6


def genres(seed: int = 7) -> ContentBlock:
    """Five genres; each fifth item has none."""
    drawn = np.random.default_rng(seed).random((N, 5)) < 0.4
    drawn[::5] = False
    lengths = np.maximum(np.sqrt(drawn.sum(axis=1, keepdims=True)), 1)
    return ContentBlock("genres", (drawn / lengths).astype(np.float32), drawn.sum(axis=1) > 0)


def texts(seed: int = 8) -> ContentBlock:
    """Vectors of any length and sign; each seventh item has none."""
    vectors = np.random.default_rng(seed).standard_normal((N, 9)).astype(np.float32)
    vectors[::7] = 0
    return ContentBlock("text", vectors, np.abs(vectors).sum(axis=1) > 0)


def learnt() -> Interactions:
    """The histories of the random task without those of its last users: items without rows."""
    history = random_task().history
    return history.take(history.items < 36)


def full_aspects() -> Aspects:
    return Aspects.of(learnt(), blocks=(texts(), genres()), categories=genres())
