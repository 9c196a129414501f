"""Towers on disk: their shape as json, their weights as safetensors; never a pickle."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.errors import ArtifactError
from recsys.files import read_json, write_json
from recsys.towers.narrowed import narrowed
from recsys.towers.newcomers import Newcomers
from recsys.towers.rating import RatingBaseline
from recsys.towers.two_tower import TwoTower

__all__ = ["load_tails", "load_towers", "load_weights", "plain", "save_towers", "save_weights"]

SHAPE, WEIGHTS = "towers.json", "weights.safetensors"
TUNED = "tuned.safetensors"  # encoders that learnt, and what they make of all items
TAIL = ".tail."  # in the names of an encoder's weights
KEYS = {"towers", "users", "items", "content", "attributes", "ratings", "newcomers"}


def save_towers(towers: TwoTower, folder: Path) -> None:
    """Write towers into an existing folder."""
    shape = {
        "towers": towers.config.model_dump(mode="json"),
        "users": towers.n_users,
        "items": towers.n_items,
        "content": towers.content_widths,
        "attributes": towers.attribute_widths,
        "ratings": towers.ratings is not None,
        "newcomers": None if towers.newcomers is None else towers.newcomers.shape,
    }
    if towers.dim != towers.config.dim:
        shape["dim"] = towers.dim
    weights = {name: plain(weight) for name, weight in towers.state_dict().items()}
    tuned = {name: weights.pop(name) for name in list(weights) if _is_tuned(name)}
    if tuned:
        shape["tuned"] = [content.finetune.model_dump() for content in towers.items.tuned]
        save_file(tuned, folder / TUNED)
    write_json(folder / SHAPE, shape)
    save_file(weights, folder / WEIGHTS)


def load_towers(
    folder: Path,
    blocks: Sequence[ContentBlock],
    user_blocks: Sequence[ContentBlock] = (),
    *,
    dim: int | None = None,
) -> TwoTower:
    """Read towers, and hand them the content and the users' attributes they were trained with.

    Content whose encoder learnt is replaced by what it made of all items at the end.

    Args:
        folder: that holds them.
        blocks: content of the items.
        user_blocks: attributes of the users.
        dim: ``index.dim``: what their vectors are cut to; None: as they were saved.

    Raises:
        ArtifactError: a file is missing or damaged, or the content is not what they know.
        ConfigError: they cannot be cut so.
    """
    shape = read_json(folder / SHAPE)
    lacking = sorted(KEYS - shape.keys())
    if lacking:
        raise ArtifactError(
            f"{folder / SHAPE}: lacks {lacking}: is of another version; train again"
        )
    for what, given in (("content", blocks), ("attributes", user_blocks)):
        widths = [block.dim for block in given]
        if widths != shape[what]:
            raise ArtifactError(
                f"{folder}: trained with {what} of widths {shape[what]}, given {widths}; run the "
                "stages embed and train again"
            )
    if "tuned" in shape:
        rows = _load(folder / TUNED)
        blocks = [
            replace(block, vectors=rows[name].numpy()) if (name := _rows_name(n)) in rows else block
            for n, block in enumerate(blocks)
        ]
    towers = TwoTower(
        TowersConfig.model_validate(shape["towers"]),
        shape["users"],
        blocks,
        np.ones(shape["items"], dtype=np.bool_),
        seed=0,
        user_blocks=user_blocks,
        ratings=RatingBaseline.blank(shape["users"], shape["items"]) if shape["ratings"] else None,
    )
    if shape["newcomers"] is not None:
        towers.newcomers = Newcomers(blocks, towers.items.known, **shape["newcomers"])
    load_weights(towers, folder / WEIGHTS)
    towers.dim = shape.get("dim", towers.config.dim)
    return narrowed(towers.eval(), dim)


def load_tails(folder: Path) -> dict[str, Tensor]:
    """Read the weights of encoders that learnt with towers; empty where none did.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    if "tuned" not in read_json(folder / SHAPE):
        return {}
    found = _load(folder / TUNED)
    return {name: weight for name, weight in found.items() if TAIL in name}


def save_weights(towers: TwoTower, path: Path) -> None:
    """Write the weights (not the content that the towers read) as safetensors."""
    save_file({name: plain(weight) for name, weight in towers.state_dict().items()}, path)


def load_weights(towers: TwoTower, path: Path) -> None:
    """Read weights into towers of the same shape.

    Raises:
        ArtifactError: the file is missing, damaged or of other towers.
    """
    try:
        towers.load_state_dict(_load(path))
    except RuntimeError as error:  # torch's word for names or shapes that do not fit
        raise ArtifactError(f"{path}: is of other towers ({error}); train again") from None


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); train again") from None


def _rows_name(number: int) -> str:
    """The name of the vectors of the block with this number, which are only saved if tuned."""
    return f"items.contents.{number}.content"


def _is_tuned(name: str) -> bool:
    return name.startswith("items.contents.") and (TAIL in name or name.endswith(".content"))


def plain(tensor: Tensor) -> Tensor:
    """A tensor as safetensors takes it."""
    return tensor.detach().cpu().contiguous()
