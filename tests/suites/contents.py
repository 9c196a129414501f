"""Small contents of items for tests of what reads them."""

import numpy as np

from recsys.content.encoder import ContentBlock

__all__ = ["by_colour"]


def by_colour(n_items: int) -> tuple[ContentBlock, ...]:
    """One block that tells even from odd items, and one of noise that some items lack."""
    random = np.random.default_rng(0)
    colour = np.stack([np.arange(n_items) % 2, 1 - np.arange(n_items) % 2], axis=1) + 3.0
    noise = random.standard_normal((n_items, 4)) + 5
    present = np.arange(n_items) % 5 != 0
    noise[~present] = 0
    return (
        ContentBlock("colour", colour.astype(np.float32), np.ones(n_items, dtype=np.bool_)),
        ContentBlock("noise", noise.astype(np.float32), present),
    )
