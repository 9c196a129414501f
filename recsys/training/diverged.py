"""What a step that is not finite leaves behind: its weights, its batch, its draws; for replay."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.data.ragged import Ragged
from recsys.device import generator_states
from recsys.errors import ArtifactError, TrainingDiverged
from recsys.files import atomic_folder, read_json, write_json
from recsys.towers.saved import save_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import Batch
from recsys.training.negatives import Negatives
from recsys.training.optimizers import Optimizers
from recsys.training.workers import Workers

__all__ = ["Moment", "Watch", "read_moment", "save_moment"]

STATE, TOWERS, BATCH = "state.json", "towers", "batch"
SELDOM = 50  # steps from one look to the next where looking waits for a GPU
PLAIN = ("users", "people", "rows", "newest", "ratings", "weights")  # arrays of a batch
LISTS = ("histories", "targets", "positives")


@dataclass(frozen=True, eq=False)
class Moment:
    """What a step computes from, beside the weights.

    Attributes:
        epoch: counted from 1.
        step: of the epoch, counted from 1.
        batch: what it learns from.
        drawn: the negatives that the step shares; None: all items are.
        random: state of the generator of what is drawn after them.
        generators: states of torch's own; see `recsys.device.generator_states`.
    """

    epoch: int
    step: int
    batch: Batch
    drawn: Negatives | None
    random: dict[str, Any]
    generators: tuple[Tensor, ...]


class Watch:
    """Sees whether steps are finite, and stops training at one that is not.

    On the CPU it looks at every step. A GPU would have to be waited for: there it looks now and
    then, and keeps what was computed from until it has. `Optimizers` makes no step from the first
    on that is not finite, so the weights are still those that it was computed with.
    """

    def __init__(
        self,
        towers: TwoTower,
        optimizers: Optimizers,
        config: TrainingConfig,
        workers: Workers,
        folder: Path | None,
    ) -> None:
        """Watch a training; what a step leaves behind goes to ``folder``, if there is one."""
        self.towers, self.optimizers, self.config = towers, optimizers, config
        self.workers = workers
        if folder is not None and workers.are_several:
            folder = folder.with_name(f"{folder.name}-{workers.rank}")
        self.folder = folder
        self.every = 1 if towers.device.type == "cpu" else SELDOM
        self.unseen: list[tuple[Moment, Tensor, Tensor]] = []

    def moment(
        self,
        epoch: int,
        step: int,
        batch: Batch,
        drawn: Negatives | None,
        random: np.random.Generator,
    ) -> Moment:
        """Note what a step is about to compute from."""
        states = generator_states(self.towers.device)
        return Moment(epoch, step, batch, drawn, dict(random.bit_generator.state), states)

    def saw(self, moment: Moment, loss: Tensor, norm: Tensor) -> None:
        """Take note of a step's loss and norm of gradients, ``()`` each, and look if it is time.

        Raises:
            TrainingDiverged: see `look`.
        """
        self.unseen.append((moment, loss, norm))
        if len(self.unseen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at all steps since the last look.

        Raises:
            TrainingDiverged: one of them was not finite.
        """
        unseen, self.unseen = self.unseen, []
        if not bool(self.optimizers.halted):
            return
        for moment, at_step, of_gradients in unseen:
            loss, norm = float(at_step), float(of_gradients)
            if not (math.isfinite(norm) and (self.workers.are_several or math.isfinite(loss))):
                self._stop(moment, loss, norm)

    def _stop(self, moment: Moment, loss: float, norm: float) -> None:
        """Write what is known, and raise."""
        kept = ""
        if self.folder is not None:
            about = {"workers": self.workers.size, "rank": self.workers.rank}
            save_moment(self.folder, self.towers, self.config, moment, loss, norm, about)
            kept = f"; which part of the towers it was: recsys replay {self.folder}"
        raise TrainingDiverged(
            f"epoch {moment.epoch}, step {moment.step}: the loss is {loss:.4g} and the norm of its "
            f"gradient {norm:.4g}; the step was not made; try training.learning_rate below "
            f"{self.config.learning_rate}{kept}"
        )


def save_moment(
    folder: Path,
    towers: TwoTower,
    config: TrainingConfig,
    moment: Moment,
    loss: float,
    norm: float,
    about: dict[str, int],
) -> None:
    """Write all that a step is computed from: json, safetensors and npy; content is elsewhere.

    Args:
        folder: replaced when all is written.
        towers: with the weights of that step.
        config: of the training.
        moment: batch and draws.
        loss: of the step.
        norm: of its gradient.
        about: more to note, json-able.
    """
    with atomic_folder(folder) as partial:
        (partial / TOWERS).mkdir()
        save_towers(towers, partial / TOWERS)
        (partial / BATCH).mkdir()
        for name, array in _arrays(moment).items():
            np.save(partial / BATCH / f"{name}.npy", array, allow_pickle=False)
        state = {
            "epoch": moment.epoch,
            "step": moment.step,
            "loss": str(loss),  # json has no nan
            "norm": str(norm),
            "random": moment.random,
            "total": moment.batch.total,
            "training": config.model_dump(mode="json"),
        }
        write_json(partial / STATE, state | about)


def read_moment(folder: Path) -> tuple[Moment, TrainingConfig, Path]:
    """Read what `save_moment` wrote; the third is the folder of the towers.

    Raises:
        ArtifactError: a file is missing, damaged, or of another version.
    """
    state = read_json(folder / STATE)
    try:
        arrays = {
            path.stem: np.load(path, allow_pickle=False)
            for path in sorted((folder / BATCH).glob("*.npy"))
        }
        lists = {
            name: Ragged(
                arrays[f"{name}.indptr"], arrays[f"{name}.values"], arrays.get(f"{name}.times")
            )
            for name in LISTS
        }
        members: dict[str, Any] = {name: arrays[name] for name in PLAIN} | lists
        batch = Batch(**members, total=state["total"])
        drawn = None
        if "drawn.items" in arrays:
            drawn = Negatives(arrays["drawn.items"], arrays["drawn.log_q"])
        states = [torch.from_numpy(arrays[name]) for name in sorted(arrays) if "generator" in name]
        moment = Moment(state["epoch"], state["step"], batch, drawn, state["random"], tuple(states))
        config = TrainingConfig.model_validate(state["training"])
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise ArtifactError(f"{folder}: cannot be replayed ({error!r}); train again") from None
    return moment, config, folder / TOWERS


def _arrays(moment: Moment) -> dict[str, NDArray[Any]]:
    """What of a moment is arrays."""
    batch = moment.batch
    arrays: dict[str, NDArray[Any]] = {name: getattr(batch, name) for name in PLAIN}
    for name in LISTS:
        rows: Ragged = getattr(batch, name)
        arrays |= {f"{name}.indptr": rows.indptr, f"{name}.values": rows.values}
        if rows.times is not None:
            arrays[f"{name}.times"] = rows.times
    if moment.drawn is not None:
        arrays |= {"drawn.items": moment.drawn.items, "drawn.log_q": moment.drawn.log_q}
    for number, state in enumerate(moment.generators):
        arrays[f"generator.{number}"] = state.numpy()
    return arrays
