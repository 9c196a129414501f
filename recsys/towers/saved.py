"""Towers on disk: their shape as json, their weights as safetensors; never a pickle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.errors import ArtifactError
from recsys.files import read_json, write_json
from recsys.towers.newcomers import Newcomers
from recsys.towers.rating import RatingBaseline
from recsys.towers.two_tower import TwoTower

__all__ = ["load_towers", "load_weights", "plain", "save_towers", "save_weights"]

SHAPE, WEIGHTS = "towers.json", "weights.safetensors"
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
    write_json(folder / SHAPE, shape)
    save_weights(towers, folder / WEIGHTS)


def load_towers(
    folder: Path, blocks: Sequence[ContentBlock], user_blocks: Sequence[ContentBlock] = ()
) -> TwoTower:
    """Read towers, and hand them the content and the users' attributes they were trained with.

    Raises:
        ArtifactError: a file is missing or damaged, or the content is not what they know.
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
    return towers.eval()


def save_weights(towers: TwoTower, path: Path) -> None:
    """Write the weights (not the content that the towers read) as safetensors."""
    save_file({name: plain(weight) for name, weight in towers.state_dict().items()}, path)


def load_weights(towers: TwoTower, path: Path) -> None:
    """Read weights into towers of the same shape.

    Raises:
        ArtifactError: the file is missing, damaged or of other towers.
    """
    try:
        towers.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); train again") from None
    except RuntimeError as error:  # torch's word for names or shapes that do not fit
        raise ArtifactError(f"{path}: is of other towers ({error}); train again") from None


def plain(tensor: Tensor) -> Tensor:
    """A tensor as safetensors takes it."""
    return tensor.detach().cpu().contiguous()
