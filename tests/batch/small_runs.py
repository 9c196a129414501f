"""A run of generated data, trained for a moment: what recommending in parts is tried on."""

from pathlib import Path
from typing import Any

from recsys.config import Config
from recsys.stages.pipeline import perform_stages
from recsys.stages.run import Run

USERS = 600


def make_run(out: Path, **recommend: Any) -> Run:
    """Do all stages before ``recommend``."""
    run = Run(config(**recommend), out, (0,))
    perform_stages(run, ("prepare", "embed", "train", "index"), tell=lambda _: None)
    return run


def config(**recommend: Any) -> Config:
    """Many small parts, so that there is much to interrupt."""
    return Config.model_validate(
        {
            "data": {
                "source": "synthetic",
                "synthetic": {"users": USERS, "items": 120, "per_user": 8},
            },
            "split": {"protocol": "leave-last-out"},
            "content": {"about": {"columns": ["text"], "encoder": "lsa"}},
            "towers": {"dim": 8},
            "training": {"epochs": 1, "device": "cpu"},
            "recommend": {"k": 5, "part_users": 10, "batch_size": 4, **recommend},
            "tracking": {"kind": "none"},
        }
    )
