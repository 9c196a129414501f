"""Folders that say what files they hold: size and sha256 of each, checked before use."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from recsys.errors import ArtifactError
from recsys.files import digest_file, digest_json

__all__ = ["FileFacts", "check_files", "describe_files", "digest_of"]


class FileFacts(BaseModel):
    """What a file must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int  # bytes
    sha256: str


def describe_files(folder: Path) -> dict[str, FileFacts]:
    """Size and sha256 of every file below a folder, by its name there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): FileFacts(
            size=path.stat().st_size, sha256=digest_file(path)
        )
        for path in paths
    }


def digest_of(files: Mapping[str, FileFacts]) -> str:
    """Return the digest of a folder with these files, as hex."""
    return digest_json({name: facts.sha256 for name, facts in files.items()})


def check_files(folder: Path, files: Mapping[str, FileFacts], card: str, again: str) -> None:
    """Refuse a folder whose files are not what its card says.

    Args:
        folder: that holds them.
        files: what they must be.
        card: the name of the card.
        again: what to do about a file that is not.

    Raises:
        ArtifactError: a file is missing, cut or changed.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path}: no such file, but {card} names it; {again}")
        size = path.stat().st_size
        if size != expected.size:
            raise ArtifactError(f"{path}: {size:,} bytes, expected {expected.size:,}; {again}")
        if digest_file(path) != expected.sha256:
            raise ArtifactError(f"{path}: the content is not what {card} says; {again}")
