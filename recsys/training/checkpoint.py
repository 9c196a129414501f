"""Checkpoints: everything an interrupted training needs to end as if it had not been."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.errors import ArtifactError
from recsys.files import atomic_folder, read_json, write_json
from recsys.towers.saved import load_weights, plain, save_weights
from recsys.training.loop import Learner, Place
from recsys.training.workers import Workers

__all__ = ["load_checkpoint", "save_checkpoint"]

STATE, WEIGHTS = "state.json", "weights.safetensors"
OPTIMIZER, BEST = "optimizer.safetensors", "best.safetensors"
WITHIN = "within.safetensors"  # sums and generators of each worker, in the middle of an epoch


def save_checkpoint(
    folder: Path,
    learner: Learner,
    state: dict[str, Any],
    best: dict[str, Tensor],
    places: Sequence[Place] = (),
) -> None:
    """Write where training stands, whole or not at all.

    Args:
        folder: replaced when all is written.
        learner: its weights, optimisers and epoch.
        state: of the caller, json-able, written to ``state.json``.
        best: the best weights so far; may be empty.
        places: in the middle of the next epoch, those of all workers, who stand at one step.
    """
    with atomic_folder(folder) as partial:
        save_file({name: plain(weight) for name, weight in best.items()}, partial / BEST)
        save_weights(learner.towers, partial / WEIGHTS)
        tensors = learner.optimizers.tensors()
        save_file({name: plain(value) for name, value in tensors.items()}, partial / OPTIMIZER)
        about = {"epoch": learner.epoch, **state}
        if places:
            save_file(_tensors_of(places), partial / WITHIN)
            first = places[0]
            about["within"] = {
                "steps": first.steps,
                "batches": first.batches,
                "negatives": first.negatives,
                "workers": len(places),
            }
        write_json(partial / STATE, about)


def load_checkpoint(
    folder: Path, learner: Learner, workers: Workers | None = None
) -> dict[str, Tensor]:
    """Bring a fresh learner to where the checkpoint was; return the best weights so far.

    Raises:
        ArtifactError: the checkpoint is damaged or of other towers; delete the folder.
    """
    load_weights(learner.towers, folder / WEIGHTS)
    try:
        tensors, best = load_file(folder / OPTIMIZER), load_file(folder / BEST)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{folder}: cannot be read ({error}); delete it") from None
    learner.optimizers.load(tensors)
    about = read_json(folder / STATE)
    learner.epoch = int(about["epoch"])
    learner.place = _place(folder, about.get("within"), workers or Workers())
    return best


def _tensors_of(places: Sequence[Place]) -> dict[str, Tensor]:
    """What of places is tensors, named ``rank . what``."""
    tensors = {f"{rank}.loss": plain(place.loss) for rank, place in enumerate(places)}
    for rank, place in enumerate(places):
        for number, generator in enumerate(place.generators):
            tensors[f"{rank}.generator.{number}"] = generator
    return tensors


def _place(folder: Path, within: dict[str, Any] | None, workers: Workers) -> Place | None:
    """Where this worker stands in an epoch, if the checkpoint was written in the middle of one."""
    if within is None:
        return None
    try:
        if within["workers"] != workers.size:
            raise ArtifactError(
                f"{folder}: was written by {within['workers']} processes and is to be read by "
                f"{workers.size}; start as many, or delete it"
            )
        tensors, rank = load_file(folder / WITHIN), workers.rank
        found = (tensors.get(f"{rank}.generator.{number}") for number in range(2))
        return Place(
            int(within["steps"]),
            within["batches"],
            within["negatives"],
            tensors[f"{rank}.loss"],
            tuple(generator for generator in found if generator is not None),
        )
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder}: is no checkpoint ({error!r}); delete it") from None
