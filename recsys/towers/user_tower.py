"""The user tower: a learned id and a history of items in, a unit vector out."""

import torch
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.towers.dropout import dropout
from recsys.towers.histories import Histories, Places, at_places
from recsys.towers.item_tower import INITIAL_STD, cut_members, unit_vectors
from recsys.towers.means import Means
from recsys.towers.transformer import Transformer

__all__ = ["UserTower"]


class UserTower(nn.Module):
    """Reads what a user took with a history encoder, then scales to length 1.

    ``vector(u) = normalise(base + id[u] + state(history))``

    An item as part of a history has a vector of its own, apart from the one it is recommended by,
    or, with ``history_items = "shared"``, that of the item tower. Every member has an encoder of
    its own, which reads and writes its part of the vectors only.
    """

    def __init__(self, n_users: int, n_items: int, config: TowersConfig) -> None:
        """Prepare a tower for ``n_users`` users with histories out of ``n_items`` items."""
        super().__init__()
        self.members, self.dropout = config.members, config.history_dropout
        self.unknown = n_users  # the row of everybody without a number
        self.id = nn.Embedding(n_users + 1, config.dim) if config.user_id else None
        self.base = nn.Parameter(torch.randn(config.dim) * INITIAL_STD)  # no history still points
        own = config.history_items == "own"
        self.history = nn.Embedding(n_items, config.dim) if own else None
        self.encoder = _encoder(config)
        for table in (self.history, self.id):
            if table is not None:
                nn.init.normal_(table.weight, std=INITIAL_STD)

    def forward(
        self, users: Tensor, histories: Histories, taken: Tensor, places: Places | None = None
    ) -> Tensor:
        """Return unit vectors of users after their histories, or after parts of them.

        Args:
            users: number of each history's user, ``(b,)``; -1 is unknown.
            histories: ``b`` of them.
            taken: what the item tower makes of ``histories.items``, ``(h, d)``; looked at only
                with ``history_items = "shared"``.
            places: the parts asked for; None: each history as a whole.

        Returns:
            ``(b, d)``, or ``(p, d)`` with ``places``.
        """
        past = taken if self.history is None else self.history(histories.items)
        past = cut_members(past, self.members).transpose(0, 1)  # (m, h, w)
        past = dropout(past, self.dropout, self.training)
        if places is None:
            states = self.encoder.last(past, histories)
        else:
            states = at_places(self.encoder(past, histories), places)
        total = self.base + states.float().transpose(0, 1).flatten(1)
        if self.id is not None:
            askers = users if places is None else users[places.rows]
            total = total + self.id(torch.where(askers < 0, self.unknown, askers))
        return unit_vectors(total, self.members)


def _encoder(config: TowersConfig) -> Means | Transformer:
    width = config.dim // config.members
    if config.encoder == "transformer":
        return Transformer(
            config.members,
            width,
            layers=config.layers,
            heads=config.heads,
            longest=config.history,
            dropout=config.dropout,
        )
    return Means(
        config.members, width, speeds=config.speeds, item_dropout=config.item_dropout
    )
