"""A bundle: what serving needs of a run, in one folder that describes itself.

It is laid out like a run, so that whatever reads a run reads it too (``recsys show --run``,
``recsys compare``): ``data/``, ``content/``, ``towers/``, ``index/``, ``encoders/`` (what encoders
of texts learnt, for the search), ``report/`` (figures and the lists they were measured on, for the
promotion gate), ``config.toml``, and last ``bundle.json`` with size and sha256 of every file.
``changes/`` holds what ``recsys items`` changed since: whoever loads a `Bundle` sees it, while what
reads the folder as a run sees it as it was made.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.config import Config
from recsys.config_file import load_config
from recsys.errors import ArtifactError
from recsys.files import FileFacts, read_json
from recsys.recommenders.recommender import Recommender
from recsys.serving.changes import Changes, newest
from recsys.serving.described import check_files, digest_of

__all__ = [
    "CARD",
    "ENCODERS",
    "RANKING",
    "Bundle",
    "BundleCard",
    "read_bundle_card",
]

CARD, ENCODERS = "bundle.json", "encoders"
RANKING = "report/rankings/two-tower-seed-{}.parquet"


class BundleCard(BaseModel):
    """What a bundle says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str  # of the run
    made: str  # when, UTC
    digest: str  # of all files: the bundle's identity
    seed: int  # of the towers that serve
    versions: dict[str, str]
    encoders: dict[str, str]  # content -> encoder, with the digest of its weights
    counts: dict[str, int]
    evaluation: dict[str, float]  # of these very towers, on the run's test part
    files: dict[str, FileFacts]

    @property
    def short(self) -> str:
        """The first letters of the digest, for people."""
        return self.digest[:12]


@dataclass(frozen=True)
class Bundle:
    """A whole and checked bundle.

    Attributes:
        folder: where it lies.
        card: what it says about itself.
        changes: of its items since it was made, if there were any.
    """

    folder: Path
    card: BundleCard
    changes: Changes | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read the card and check every file against it.

        A link is followed once, so that all files come from the same folder even if the link is
        moved meanwhile.

        Raises:
            ArtifactError: there is no bundle, or a file is missing, cut or changed.
        """
        folder = Path(folder).resolve()
        card = read_bundle_card(folder)
        check_files(folder, card.files, CARD, "copy or make the bundle again")
        if digest_of(card.files) != card.digest:
            raise ArtifactError(f"{folder / CARD}: was altered; make the bundle again")
        changed = newest(folder)
        return cls(folder, card, None if changed is None else Changes.load(changed, card.digest))

    @property
    def digest(self) -> str:
        """What answers: the bundle with its changes."""
        return self.card.digest if self.changes is None else self.changes.card.digest

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return load_config(self.folder / "config.toml")

    def recommender(self) -> Recommender:
        """Load the towers, their index and everybody's histories.

        Raises:
            ArtifactError: the files do not belong together.
        """
        base = Recommender.load(self.folder)
        return base if self.changes is None else self.changes.on(base)


def read_bundle_card(folder: Path) -> BundleCard:
    """Read what a folder says about its bundle; nothing else is looked at.

    Raises:
        ArtifactError: there is no card, or it is not one of ours.
    """
    path = folder / CARD
    if not path.is_file():
        raise ArtifactError(f"{folder}: holds no {CARD}; expected what `recsys bundle RUN` writes")
    try:
        return BundleCard.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path}: {where}: {first['msg']}; make the bundle again") from None
