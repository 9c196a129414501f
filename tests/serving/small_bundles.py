"""A finished run and its bundle, made once for all tests of serving."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

from recsys.files import write_json
from recsys.serving.bundle import CARD, read_bundle_card
from recsys.serving.described import describe_files, digest_of
from recsys.serving.make import make_bundle
from recsys.stages.command import Command

CONFIG = """
[data]
interactions = "log.csv"
time = "time"
items = "items.csv"
users = "users.csv"

[content.text]
columns = ["title"]
encoder = "tf-idf"

[users.age]
columns = ["age"]
encoder = "numbers"

[towers]
dim = 8

[training]
epochs = 2
score_every = 1
device = "cpu"

[split]
refit = false

[newcomers]
episodes = 1
dim = 8

[index]
trees = 5

[evaluation]
baselines = ["popularity"]
beyond = []

[tracking]
kind = "none"
"""
KINDS = ("dark space opera", "light sea shanty")
N_USERS, N_ITEMS = 40, 30
NEW_USERS = ("u0", "u17")


def _write_files(folder: Path, *, early: bool) -> None:
    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", 100 + item, step)
        for user in range(N_USERS)
        for step, item in enumerate(random.permutation(np.arange(user % 2, N_ITEMS, 2))[:10])
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "time"])
    numbers = range(N_ITEMS)
    titles = [f"{KINDS[n % 2]} part {n}" for n in numbers]
    years = [1990 + n for n in numbers]
    items = pd.DataFrame({"item_id": [100 + n for n in numbers], "title": titles, "year": years})
    ages = {"user_id": [f"u{n}" for n in range(N_USERS)], "age": [20 + n for n in range(N_USERS)]}
    users = pd.DataFrame(ages)
    if early:  # before the last rows, some items and some users were there: others' numbers differ
        log = log[(log["time"] < 7) & (log["item_id"] >= 103) & ~log["user_id"].isin(NEW_USERS)]
        items, users = items[items["item_id"] >= 103], users[~users["user_id"].isin(NEW_USERS)]
    log.to_csv(folder / "log.csv")
    items.to_csv(folder / "items.csv", index=False)
    users.to_csv(folder / "users.csv", index=False)
    (folder / "my.toml").write_text(CONFIG)


@cache
def finished_run(*words: str, early: bool = False) -> Path:
    """The folder of a whole run; words such as ``"seed=1"`` change the config.

    Args:
        words: that change it.
        early: of the log as it was before it grew.
    """
    folder = Path(mkdtemp(prefix="recsys-serving-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _write_files(folder, early=early)
    Command.of(folder / "my.toml", words, folder / "run").go()
    return folder / "run"


@cache
def bundle_of(*words: str, early: bool = False) -> Path:
    """The folder of its bundle, which tests must not change."""
    run = finished_run(*words, early=True) if early else finished_run(*words)  # as the cache knows
    return make_bundle(run).folder


def copy_of(bundle: Path, to: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(bundle, to)
    return to


def link(path: Path, to: Path) -> None:
    """Point a link to a folder, at once."""
    new = path.with_name(f"{path.name}.new")
    new.symlink_to(to)
    new.replace(path)


def describe_again(folder: Path) -> None:
    """Write the card of a bundle whose files were changed on purpose."""
    card = read_bundle_card(folder)
    (folder / CARD).unlink()
    files = describe_files(folder)
    new = card.model_copy(update={"files": files, "digest": digest_of(files)})
    write_json(folder / CARD, new.model_dump(mode="json"))
