"""The user tower: a learned id and a history of items in, a unit vector out."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from recsys.config import HistoryEncoder, TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.towers.attention import AttentionPooling
from recsys.towers.attributes import Attributes, Known
from recsys.towers.dropout import dropout
from recsys.towers.gru import Gru
from recsys.towers.histories import Histories, Places, at_places
from recsys.towers.item_tower import INITIAL_STD, cut_members, unit_vectors
from recsys.towers.means import Means
from recsys.towers.transformer import Transformer

__all__ = ["UserTower"]

TIME_DROPOUT = 0.1  # share of histories learnt from as if nobody knew when; not tuned

_Encoder = Means | AttentionPooling | Gru | Transformer


class UserTower(nn.Module):
    """Reads what a user took with a history encoder, then scales to length 1.

    ``vector(u) = normalise(base + id[u] + attributes(u) + state(history))``

    An item as part of a history has a vector of its own, apart from the one it is recommended by,
    or, with ``history_items = "shared"``, that of the item tower. Every member has an encoder of
    its own, which reads and writes its part of the vectors only.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        config: TowersConfig,
        blocks: Sequence[ContentBlock] = (),
        known: Tensor | None = None,
    ) -> None:
        """Prepare a tower for ``n_users`` users with histories out of ``n_items`` items.

        Args:
            n_users: users on record.
            n_items: items of the data set.
            config: its shape.
            blocks: attributes of the users.
            known: users with training rows, bool ``(n_users,)``; None: all of them.
        """
        super().__init__()
        self.members, self.dropout = config.members, config.history_dropout
        self.unknown = n_users  # the row of everybody without a number
        self.id = nn.Embedding(n_users + 1, config.dim) if config.user_id else None
        self.base = nn.Parameter(torch.randn(config.dim) * INITIAL_STD)  # no history still points
        own = config.history_items == "own"
        self.history = nn.Embedding(n_items, config.dim) if own else None
        kinds = list(dict.fromkeys(config.encoders))
        self.shares = [
            [m for m, own in enumerate(config.encoders) if own == kind] for kind in kinds
        ]
        self.encoders = nn.ModuleList(
            _encoder(kind, len(share), config)
            for kind, share in zip(kinds, self.shares, strict=True)
        )
        everybody = torch.ones(n_users, dtype=torch.bool) if known is None else known
        drop = config.attribute_dropout
        self.attributes = (
            Attributes(blocks, config.dim, everybody, dropout=drop) if blocks else None
        )
        for table in (self.history, self.id):
            if table is not None:
                nn.init.normal_(table.weight, std=INITIAL_STD)

    def forward(
        self,
        users: Tensor,
        histories: Histories,
        taken: Tensor,
        places: Places | None = None,
        known: Sequence[Known] | None = None,
    ) -> Tensor:
        """Return unit vectors of users after their histories, or after parts of them.

        Args:
            users: number of each history's user, ``(b,)``; -1 is unknown.
            histories: ``b`` of them.
            taken: what the item tower makes of ``histories.items``, ``(h, d)``; looked at only
                with ``history_items = "shared"``.
            places: the parts asked for; None: each history as a whole.
            known: attributes of the ``b`` users; None: what is on record of ``users``.

        Returns:
            ``(b, d)``, or ``(p, d)`` with ``places``.
        """
        past = taken if self.history is None else self.history(histories.items)
        past = cut_members(past, self.members).transpose(0, 1)  # (m, h, w)
        past = dropout(past, self.dropout, self.training)
        total = self.base + self._states(past, histories, places).transpose(0, 1).flatten(1)
        if self.id is not None:
            askers = users if places is None else users[places.rows]
            total = total + self.id(torch.where(askers < 0, self.unknown, askers))
        if self.attributes is not None:
            told = self.attributes(self.attributes.on_record(users) if known is None else known)
            total = total + (told if places is None else told[places.rows])
        return unit_vectors(total, self.members)

    def knows(self, users: Tensor, known: Sequence[Known] | None = None) -> Tensor:
        """Of which users anything is known beside a history, bool ``(b,)``; see `forward`."""
        found = torch.zeros_like(users, dtype=torch.bool) if self.id is None else users >= 0
        if self.attributes is not None:
            for told in self.attributes.on_record(users) if known is None else known:
                found = found | told.present
        return found

    def _states(self, past: Tensor, histories: Histories, places: Places | None) -> Tensor:
        """The state at each place ``(m, p, w)``, each member's by its own encoder."""
        states = []
        for module, share in zip(self.encoders, self.shares, strict=True):
            encoder = cast("_Encoder", module)
            own = past[share] if len(self.shares) > 1 else past
            found = encoder.last(own, histories) if places is None else encoder(own, histories)
            states.append(found if places is None else at_places(found, places))
        if len(states) == 1:
            return states[0].float()
        order = torch.tensor([member for share in self.shares for member in share]).argsort()
        return torch.cat([state.float() for state in states])[order]


def _encoder(kind: HistoryEncoder, members: int, config: TowersConfig) -> _Encoder:
    """The encoder of ``members`` of the members."""
    width = config.dim // config.members
    if kind == "transformer":
        return Transformer(
            members,
            width,
            layers=config.layers,
            heads=config.heads,
            longest=config.history,
            dropout=config.dropout,
            time_gaps=config.time_gaps,
            time_dropout=TIME_DROPOUT,
        )
    if kind == "gru":
        return Gru(members, width, layers=config.layers, dropout=config.dropout)
    if kind == "attention":
        return AttentionPooling(
            members,
            width,
            heads=config.heads,
            longest=config.history,
            item_dropout=config.item_dropout,
        )
    return Means(members, width, speeds=config.speeds, item_dropout=config.item_dropout)
