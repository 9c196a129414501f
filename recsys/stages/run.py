"""A run: the configuration, the output folder and the seeds that all stages share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recsys.config import Config
from recsys.tracking import NoTracker, Tracker
from recsys.training.workers import Workers

__all__ = ["Engine", "Run", "Wishes"]

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Wishes:
    """What a user asks of ``recommend`` beyond the config.

    Attributes:
        users: a file of user ids; everybody when not given.
        exclude: a file of items for nobody, or of users with an item that is not for them.
        candidates: a file of the items that are allowed.
        where: a condition that items must meet beside those of the config.
        to: where the parts go instead of the run's folder: a path, or a url that fsspec knows.
    """

    users: Path | None = None
    exclude: Path | None = None
    candidates: Path | None = None
    where: str | None = None
    to: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are given."""
        return tuple(path for path in (self.users, self.exclude, self.candidates) if path)


@dataclass(frozen=True)
class Run:
    """Everything that stages share.

    Attributes:
        config: what is to be done.
        out: the run's folder.
        seeds: the towers are trained once for each; the first ones recommend.
        tracker: told of every epoch.
        wishes: for ``recommend``.
        engine: who encodes and recommends: this process, or workers of a Ray cluster. What comes
            out is the same.
        vectors: the store of encoded content; None: the one that neighbouring runs share.
        workers: who shares the training.
    """

    config: Config
    out: Path
    seeds: tuple[int, ...]
    tracker: Tracker = field(default_factory=NoTracker)
    wishes: Wishes = field(default_factory=Wishes)
    vectors: Path | None = None
    engine: Engine = "local"
    workers: Workers = field(default_factory=Workers)

    def folder(self, name: str, seed: int | None = None) -> Path:
        """Where a stage writes; seeds after the first have folders of their own."""
        if seed is None or seed == self.seeds[0]:
            return self.out / name
        return self.out / "seeds" / str(seed) / name

    def label(self, stage: str, seed: int) -> str:
        """What a stage is called; seeds after the first are told apart."""
        return stage if seed == self.seeds[0] else f"{stage} (seed {seed})"
