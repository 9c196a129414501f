"""Both towers and the temperature that turns their cosine into a score."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError
from recsys.towers.attributes import Known
from recsys.towers.histories import Histories, Places
from recsys.towers.item_tower import ItemTower, unit_vectors
from recsys.towers.nested import beginnings
from recsys.towers.newcomers import Newcomers
from recsys.towers.rating import RatingBaseline, RatingHead
from recsys.towers.some_items import SomeItems
from recsys.towers.user_tower import UserTower

__all__ = ["TwoTower"]

BLOCK = 4_096  # users or items turned into vectors at a time
AVERAGED = 10_000  # users whose mean stands for those of whom nothing is known
CELLS = 2**22  # pairs of past items at a time, which attention holds for every user
SHARPEST = 100.0  # 1 / temperature at most, as in CLIP (Radford et al., ICML 2021)


class TwoTower(nn.Module):
    """score(user, item) = cosine(user vector, item vector) / temperature.

    Both vectors have length 1, so that an angular index is exact for what was learnt and no
    popularity hides in a norm. They hold ``config.members`` parts of equal length side by side:
    models that share nothing but the temperature and the rates of forgetting of `Means`, each
    trained by a loss of its own. The cosine of the whole is the mean of theirs: an ensemble, served
    as one vector.

    Somebody of whom nothing is known, no item and no attribute, gets the vector of the average
    user once `learn_average` was called: what everybody likes, where the user tower by itself only
    knows what people take first.
    """

    average: Tensor  # (d,); zeros until it is learnt

    def __init__(
        self,
        config: TowersConfig,
        n_users: int,
        blocks: Sequence[ContentBlock],
        known_items: NDArray[np.bool_],
        *,
        seed: int,
        user_blocks: Sequence[ContentBlock] = (),
        known_users: NDArray[np.bool_] | None = None,
        ratings: RatingBaseline | None = None,
    ) -> None:
        """Prepare both towers.

        Args:
            config: their shape.
            n_users: users of the data set.
            blocks: content of the items.
            known_items: items with training rows, bool ``(n_items,)``.
            seed: of the initial weights.
            user_blocks: attributes of the users.
            known_users: users with training rows, bool ``(n_users,)``; None: all of them.
            ratings: what a rating head starts from; None: no such head.
        """
        super().__init__()
        self.config = config
        self.n_users, self.n_items = n_users, len(known_items)
        self.content_widths = [block.dim for block in blocks]
        self.attribute_widths = [block.dim for block in user_blocks]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            known = torch.from_numpy(known_items)
            self.items = ItemTower(self.n_items, blocks, known, config)
            learnt_from = None if known_users is None else torch.from_numpy(known_users)
            self.users = UserTower(n_users, self.n_items, config, user_blocks, learnt_from)
            self.ratings = None if ratings is None else RatingHead(ratings, config.dim)
        scale = torch.tensor(1.0 / config.temperature).log()
        self.log_scale = nn.Parameter(scale, requires_grad=config.learn_temperature)
        self.register_buffer("average", torch.zeros(config.dim))
        self.newcomers: Newcomers | None = None  # learnt when the towers are
        self.dim = config.dim  # of the vectors that are handed out; see `recsys.towers.narrowed`

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_scale.device

    @property
    def temperature(self) -> float:
        """What the cosine is divided by: the smaller, the sharper."""
        return float(torch.exp(-self.log_scale.detach()))

    @torch.no_grad()
    def limit_temperature(self) -> None:
        """Bring the temperature back where a step has left what `full_softmax` can sum."""
        self.log_scale.clamp_(max=math.log(SHARPEST))

    def learn_average(self, histories: Ragged) -> None:
        """Note the mean of the vectors of users with these histories, some of them if many."""
        able = np.flatnonzero(histories.lengths)
        if not len(able):
            return
        some = able[np.linspace(0, len(able) - 1, min(len(able), AVERAGED)).astype(np.int64)]
        nobody = np.full(len(some), -1, dtype=np.int32)
        mean = torch.from_numpy(self._whole_users(nobody, histories.take(some))).mean(dim=0)
        self.average.copy_(unit_vectors(mean[None], self.config.members)[0])

    def queries(
        self,
        users: Tensor,
        histories: Histories,
        items: Tensor | SomeItems | None = None,
        places: Places | None = None,
        known: Sequence[Known] | None = None,
    ) -> Tensor:
        """Return vectors of users ``(b,)`` after their histories, ``(b, d)``.

        Args:
            users: numbers; -1 is unknown.
            histories: of these users.
            items: vectors of all items ``(n_items, d)``, or of those in the histories, if they have
                been computed already.
            places: see `UserTower.forward`; the result is ``(p, d)`` then.
            known: attributes of these users; None: what is on record of ``users``.
        """
        if self.config.history_items == "own":
            taken: Tensor = self.log_scale  # not looked at
        elif items is None:
            taken = self.items(histories.items)
        else:
            taken = items[histories.items]
        vectors: Tensor = self.users(users, histories, taken, places, known)
        return vectors

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the unit vectors of all items, ``(n_items, d)``; newcomers widen them."""
        vectors = self.items_alone()
        return vectors if self.newcomers is None else self.newcomers.beside_items(vectors)

    def items_alone(self) -> NDArray[np.float32]:
        """Return where the item tower itself puts all items, unit vectors ``(n_items, d)``."""
        return beginnings(self._whole_items(), self.config.members, self.dim)

    @torch.no_grad()
    def _whole_items(self) -> NDArray[np.float32]:
        self.eval()
        numbers = torch.arange(self.n_items, device=self.device)
        blocks = [self.items(block).float().cpu() for block in torch.split(numbers, BLOCK)]
        vectors: NDArray[np.float32] = torch.cat(blocks).numpy()
        return vectors

    def user_vectors(
        self,
        users: NDArray[np.int32],
        histories: Ragged,
        attributes: Sequence[ContentBlock] | None = None,
    ) -> NDArray[np.float32]:
        """Return unit vectors ``(b, d)`` of user numbers ``(b,)``, -1 for the unknown.

        Args:
            users: numbers.
            histories: of these users.
            attributes: of these users, ``b`` rows a block; None: what is on record of ``users``.
        """
        vectors = self._whole_users(users, histories, attributes)
        vectors = beginnings(vectors, self.config.members, self.dim)
        if self.newcomers is None:
            return vectors
        return self.newcomers.beside_users(vectors, histories)

    @torch.no_grad()
    def _whole_users(
        self,
        users: NDArray[np.int32],
        histories: Ragged,
        attributes: Sequence[ContentBlock] | None = None,
    ) -> NDArray[np.float32]:
        self.eval()
        recent = histories.last(self.config.history)
        told = None if attributes is None else [Known.of(b, self.device) for b in attributes]
        vectors = np.empty((len(users), self.config.dim), dtype=np.float32)
        longest = max(1, int(recent.lengths.max(initial=0)))
        step = max(1, min(BLOCK, CELLS // longest**2))
        for start in range(0, len(users), step):
            rows = np.arange(start, min(start + step, len(users)))
            numbers = torch.from_numpy(users[rows]).long().to(self.device)
            block = self.queries(
                numbers,
                Histories.of(recent.take(rows), self.device),
                known=None if told is None else [known.rows(rows) for known in told],
            )
            vectors[rows] = block.float().cpu().numpy()
        if self.average.any():
            rows = np.flatnonzero(recent.lengths == 0)
            numbers = torch.from_numpy(users[rows]).long().to(self.device)
            known = self.users.knows(numbers, told and [one.rows(rows) for one in told])
            vectors[rows[~known.cpu().numpy()]] = self.average.cpu().numpy()
        return vectors

    @torch.no_grad()
    def predict_ratings(
        self,
        users: NDArray[np.int32],
        histories: Ragged,
        rows: NDArray[np.int64],
        items: NDArray[np.int32],
    ) -> NDArray[np.float32]:
        """Predict what users would rate items, in the log's unit, ``(n,)``.

        Args:
            users: numbers ``(b,)``; -1 is unknown.
            histories: of these users.
            rows: the place in ``users`` of each question, ``(n,)``.
            items: the item of each question, numbers ``(n,)``.

        Raises:
            ConfigError: the towers have no rating head.
        """
        if self.ratings is None:
            raise ConfigError("ratings: not learnt; train with training.rating_weight above 0")
        queries, vectors = self._whole_users(users, histories), self._whole_items()
        found = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            asked = (users[rows[block]].astype(np.int64), queries[rows[block]])
            of = (items[block].astype(np.int64), vectors[items[block]])
            tensors = (torch.from_numpy(part).to(self.device) for part in (*asked, *of))
            found[block] = self.ratings(*tensors).cpu().numpy()
        return found
