"""Both towers and the temperature that turns their cosine into a score."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.towers.histories import Histories, Places
from recsys.towers.item_tower import ItemTower
from recsys.towers.user_tower import UserTower

__all__ = ["TwoTower"]

BLOCK = 4_096  # users or items turned into vectors at a time


class TwoTower(nn.Module):
    """score(user, item) = cosine(user vector, item vector) / temperature.

    Both vectors have length 1, so that an angular index is exact for what was learnt and no
    popularity hides in a norm. They hold ``config.members`` parts of equal length side by side:
    models that share nothing but the temperature, each trained by a loss of its own. The cosine of
    the whole is the mean of theirs: an ensemble, served as one vector.
    """

    def __init__(
        self,
        config: TowersConfig,
        n_users: int,
        blocks: Sequence[ContentBlock],
        known_items: NDArray[np.bool_],
        *,
        seed: int,
    ) -> None:
        """Prepare both towers.

        Args:
            config: their shape.
            n_users: users of the data set.
            blocks: content of the items.
            known_items: items with training rows, bool ``(n_items,)``.
            seed: of the initial weights.
        """
        super().__init__()
        self.config = config
        self.n_users, self.n_items = n_users, len(known_items)
        self.content_widths = [block.dim for block in blocks]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            known = torch.from_numpy(known_items)
            self.items = ItemTower(self.n_items, config.dim, blocks, known, config.members)
            self.users = UserTower(n_users, self.n_items, config)
        self.log_scale = nn.Parameter(torch.tensor(1.0 / config.temperature).log())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_scale.device

    @property
    def temperature(self) -> float:
        """What the cosine is divided by: the smaller, the sharper."""
        return float(torch.exp(-self.log_scale.detach()))

    def queries(
        self,
        users: Tensor,
        histories: Histories,
        items: Tensor | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """Return vectors of users ``(b,)`` after their histories, ``(b, d)``.

        Args:
            users: numbers; -1 is unknown.
            histories: of these users.
            items: vectors of all items ``(n_items, d)``, if they have been computed already.
            places: see `UserTower.forward`; the result is ``(p, d)`` then.
        """
        if self.config.history_items == "own":
            taken = self.log_scale  # not looked at
        elif items is None:
            taken = self.items(histories.items)
        else:
            taken = items[histories.items]
        vectors: Tensor = self.users(users, histories, taken, places)
        return vectors

    @torch.no_grad()
    def item_vectors(self) -> NDArray[np.float32]:
        """Return the unit vectors of all items, ``(n_items, d)``."""
        self.eval()
        numbers = torch.arange(self.n_items, device=self.device)
        blocks = [self.items(block).float().cpu() for block in torch.split(numbers, BLOCK)]
        vectors: NDArray[np.float32] = torch.cat(blocks).numpy()
        return vectors

    @torch.no_grad()
    def user_vectors(self, users: NDArray[np.int32], histories: Ragged) -> NDArray[np.float32]:
        """Return unit vectors ``(b, d)`` of user numbers ``(b,)``, -1 for the unknown."""
        self.eval()
        recent = histories.last(self.config.history)
        vectors = np.empty((len(users), self.config.dim), dtype=np.float32)
        for start in range(0, len(users), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(users)))
            numbers = torch.from_numpy(users[rows]).long().to(self.device)
            block = self.queries(numbers, Histories.of(recent.take(rows), self.device))
            vectors[rows] = block.float().cpu().numpy()
        return vectors
