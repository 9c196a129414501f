"""Folders that say what files they hold: size and sha256 of each, checked before use."""

from collections.abc import Mapping
from pathlib import Path

from recsys.files import FileFacts, check_file, describe_file, digest_json

__all__ = ["check_files", "describe_files", "digest_of"]


def describe_files(folder: Path) -> dict[str, FileFacts]:
    """Size and sha256 of every file below a folder, by its name there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): describe_file(path) for path in paths}


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
        check_file(folder / name, expected, card, again)
