"""What an entry in the list of encoders says, and what is asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recsys.config import EncoderOptions
from recsys.content.encoder import Encoder

__all__ = ["EncoderFamily", "Listed", "Modality", "Wanted"]

Modality = Literal["text", "image", "audio", "categories", "numbers"]


@dataclass(frozen=True)
class Wanted:
    """What a configuration asks of a family.

    Attributes:
        model: what follows the colon; "" if nothing.
        device: ``"cpu"`` or ``"cuda"``, for encoders that compute on one.
        options: ``[content.NAME.options]``; None stands for the encoder's own choice.
        contents: those of the training items, for encoders that are fitted on the catalogue.
        keep: a folder where what is learnt may be kept (`recsys.content.learnt`).
    """

    model: str = ""
    device: str = "cpu"
    options: EncoderOptions = field(default_factory=EncoderOptions)
    contents: Sequence[Any] = ()
    keep: Path | None = None


@dataclass(frozen=True)
class Listed:
    """A model of a family that can be named without knowing a path.

    Attributes:
        model: what follows the colon; "" if nothing.
        width: of its vectors; None where the catalogue or an option decides.
        weights: its name in the list of weights; None if it needs none.
    """

    model: str
    width: int | None
    weights: str | None = None


@dataclass(frozen=True)
class EncoderFamily:
    """Encoders that share code and differ in weights.

    Attributes:
        usage: how it is named in a configuration: ``"sbert:MODEL"``, ``"hog"``, or
            ``"resnet50[:FILE]"`` where what follows the colon may be left out.
        modality: what it reads.
        description: what it makes, half a line.
        paper: who described it, such as "Reimers and Gurevych, 2019"; "" if nobody.
        make: makes an encoder; imports what is heavy only there.
        models: those that are listed.
        options: the names of the options that it obeys.
        requires: modules that must be importable.
        extra: the extra of this project that installs them; "" where they always are.
        stored: whether its vectors are worth keeping in the vector store.
        tunable: whether its last layers can learn together with the towers.
        has_random: whether ``random:NAME`` makes it with random weights, for tests.
    """

    usage: str
    modality: Modality
    description: str
    paper: str
    make: Callable[[Wanted], Encoder[Any]]
    models: tuple[Listed, ...]
    options: frozenset[str] = frozenset()
    requires: tuple[str, ...] = ()
    extra: str = ""
    stored: bool = True
    tunable: bool = False
    has_random: bool = False
