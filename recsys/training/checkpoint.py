"""Checkpoints: everything an interrupted training needs to end as if it had not been."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.errors import ArtifactError
from recsys.files import atomic_folder, read_json, write_json
from recsys.towers.saved import load_weights, plain, save_weights
from recsys.training.loop import Learner

__all__ = ["load_checkpoint", "save_checkpoint"]

STATE, WEIGHTS = "state.json", "weights.safetensors"
OPTIMIZER, BEST = "optimizer.safetensors", "best.safetensors"


def save_checkpoint(
    folder: Path, learner: Learner, state: dict[str, Any], best: dict[str, Tensor]
) -> None:
    """Write where training stands, whole or not at all.

    Args:
        folder: replaced when all is written.
        learner: its weights, optimisers and epoch.
        state: of the caller, json-able, written to ``state.json``.
        best: the best weights so far; may be empty.
    """
    with atomic_folder(folder) as partial:
        save_file({name: plain(weight) for name, weight in best.items()}, partial / BEST)
        save_weights(learner.towers, partial / WEIGHTS)
        tensors = learner.optimizers.tensors()
        save_file({name: plain(value) for name, value in tensors.items()}, partial / OPTIMIZER)
        write_json(partial / STATE, {"epoch": learner.epoch, **state})


def load_checkpoint(folder: Path, learner: Learner) -> dict[str, Tensor]:
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
    learner.epoch = int(read_json(folder / STATE)["epoch"])
    return best
