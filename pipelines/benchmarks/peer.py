"""RecTools' SASRec beside our models: the same rows in, lists out, judged by our metrics.

RecTools 0.13 asks for numpy below 2 and scipy below 1.13, which this project cannot have, but works
with newer ones (though not with pandas 3); so it is installed without what it asks for:

    pip install -e '.[bench]' && pip install --no-deps 'rectools==0.13.*'
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.index.topk import TopK, top_k_of_scores
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["Peer", "Shape", "peer"]


@dataclass(frozen=True)
class Shape:
    """What both models have in common; the defaults are RecTools' own but for the width."""

    dim: int = 64
    blocks: int = 2
    heads: int = 4
    history: int = 100  # items that are read at most
    dropout: float = 0.2
    batch_size: int = 128  # users
    learning_rate: float = 1e-3


@dataclass(frozen=True, eq=False)
class Peer:
    """RecTools' SASRec, fitted or about to be; a `Ranker` when fitted.

    Attributes:
        model: RecTools' own, with all items as negatives (``loss="softmax"``).
        data: the rows it learns from and asks with, in RecTools' form.
        n_items: of our data set.
    """

    model: SASRecModel
    data: Dataset
    n_items: int
    name: str = "rectools-sasrec"

    @property
    def abilities(self) -> Abilities:
        """Neither new users, as it is asked with the rows it learnt from, nor new items."""
        return Abilities(new_users=False, new_items=False)

    def fit(self, epochs: int, each_epoch: Callable[[int], None] | None = None) -> "Peer":
        """Train in place.

        Args:
            epochs: how many.
            each_epoch: told of every epoch, counted from 1; it may ask for lists.
        """

        def ended(trainer: Trainer, module: Any) -> None:
            if each_epoch is not None:
                self.model.is_fitted = True  # far enough to be asked
                each_epoch(trainer.current_epoch + 1)
                module.train()

        # As RecTools' default trainer, on the CPU; a function survives its deep copy of this.
        self.model._trainer = Trainer(  # its documentation says to assign it
            max_epochs=epochs,
            min_epochs=epochs,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=False,
            accelerator="cpu",
            devices=1,
            callbacks=[LambdaCallback(on_train_epoch_end=ended)],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning: one worker, and the like
            self.model.fit(self.data)
        return self

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items per query, shapes ``(b, k)``, by RecTools' own scores.

        RecTools scores everything and the best are chosen here: leaving out the history itself it
        falls over newer scipy. It ranks no item that none of its shortened histories holds.
        """
        found = self.model.recommend(queries.users, self.data, self.n_items, filter_viewed=False)
        rows = pd.Index(queries.users).get_indexer(found[Columns.User])
        scores = np.zeros((len(queries), self.n_items), dtype=np.float32)
        scores[rows, found[Columns.Item]] = found[Columns.Score]
        allowed = np.isin(np.arange(self.n_items), found[Columns.Item])
        if candidates is not None:
            allowed &= candidates
        return top_k_of_scores(scores, k, exclude=exclude, candidates=allowed)


def peer(rows: Interactions, shape: Shape, *, seed: int) -> Peer:
    """Make an untrained SASRec for ``rows``; their order within a user is the order in time."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    seed_everything(seed, verbose=False)
    frame = pd.DataFrame(
        {
            Columns.User: rows.users,
            Columns.Item: rows.items,
            Columns.Weight: 1.0,  # of the loss of a position: not the rating
            Columns.Datetime: pd.to_datetime(np.arange(len(rows)), unit="s"),
        }
    )
    model = SASRecModel(
        n_factors=shape.dim,
        n_blocks=shape.blocks,
        n_heads=shape.heads,
        session_max_len=shape.history,
        dropout_rate=shape.dropout,
        batch_size=shape.batch_size,
        lr=shape.learning_rate,
        loss="softmax",
        recommend_torch_device="cpu",
    )
    return Peer(model, Dataset.construct(frame), rows.n_items)
