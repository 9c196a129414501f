"""All encoders by name: what stands before the colon chooses the family, the rest its model."""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from recsys.config import EncoderOptions
from recsys.content.audio.families import AUDIO_ENCODERS
from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted
from recsys.content.image.families import IMAGE_ENCODERS
from recsys.content.image.transformer_families import TRANSFORMER_IMAGE_ENCODERS
from recsys.content.numeric import NumberEncoder
from recsys.content.random_networks import RANDOM, is_random
from recsys.content.text.families import TEXT_ENCODERS
from recsys.content.text.word_families import WORD_ENCODERS
from recsys.errors import ConfigError

__all__ = ["ENCODERS", "check_encoder", "encoder_family", "make_encoder"]


def _categories(wanted: Wanted) -> Encoder[Any]:
    from recsys.content.categories import CategoryEncoder  # here: it imports pandas

    return CategoryEncoder.fit(wanted.contents)


STRUCTURED_ENCODERS: Mapping[str, EncoderFamily] = {
    "categories": EncoderFamily(
        usage="categories",
        modality="categories",
        description="which of the catalogue's frequent labels an item carries",
        paper="",
        make=_categories,
        models=(Listed("", None),),
        stored=False,
    ),
    "numbers": EncoderFamily(
        usage="numbers",
        modality="numbers",
        description="the standardised number with soft bins over its quantiles",
        paper="Broomhead and Lowe, 1988",
        make=lambda wanted: NumberEncoder.fit(wanted.contents),
        models=(Listed("", None),),
        stored=False,
    ),
}

ENCODERS: Mapping[str, EncoderFamily] = MappingProxyType(
    {
        **WORD_ENCODERS,
        **TEXT_ENCODERS,
        **IMAGE_ENCODERS,
        **TRANSFORMER_IMAGE_ENCODERS,
        **AUDIO_ENCODERS,
        **STRUCTURED_ENCODERS,
    }
)


def encoder_family(name: str) -> EncoderFamily:
    """Return the family of an encoder's name.

    Raises:
        ConfigError: there is no such family, or it is not used in this way.
    """
    prefix, _, model = name.removeprefix(RANDOM).partition(":")
    family = ENCODERS.get(prefix)
    if family is None:
        known = ", ".join(sorted(ENCODERS))
        raise ConfigError(
            f"encoder {name!r} is unknown; known are {known} (`recsys encoders` says more)"
        )
    takes_model, may_lack_it = ":" in family.usage, "[:" in family.usage
    if (model and not takes_model) or (takes_model and not model and not may_lack_it):
        raise ConfigError(f"encoder {name!r}: write {family.usage!r} ({family.description})")
    if is_random(name) and not family.has_random:
        raise ConfigError(f"encoder {name!r}: {prefix} has no weights that could be random")
    return family


def check_encoder(name: str, options: EncoderOptions) -> EncoderFamily:
    """Return the family of an encoder that could be made: its libraries are here, its options fit.

    Raises:
        ConfigError: it could not be made.
    """
    family = encoder_family(name)
    for option in sorted(options.model_dump(exclude_none=True).keys() - family.options):
        takes = ", ".join(sorted(family.options)) or "none"
        raise ConfigError(f"encoder {name!r} has no option {option!r}; its options: {takes}")
    for module in family.requires:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f'encoder {name!r} needs {module}: pip install "recsys[{family.extra}]"'
            )
    return family


def make_encoder(name: str, wanted: Wanted | None = None) -> Encoder[Any]:
    """Make an encoder by name.

    Args:
        name: such as ``"sbert:all-MiniLM-L6-v2"``, ``"categories"``; see ``ENCODERS``. After
            ``"random:"`` the weights are random: for tests only.
        wanted: device, options, and for encoders that are fitted the contents; its ``model`` is
            taken from the name.

    Raises:
        ConfigError: the name is unknown, its model or a library cannot be found, or an option is
            not one of this encoder's.
        DataError: the contents are nothing that such an encoder can be fitted on.
    """
    wanted = wanted or Wanted()
    family = check_encoder(name, wanted.options)
    model = name.removeprefix(RANDOM).partition(":")[2]
    prefix = RANDOM if is_random(name) else ""
    return family.make(replace(wanted, model=prefix + model))
