"""The part of probe that goes back to the encoders of a run: copies, pairs of texts, words."""

from collections.abc import Callable, Sequence
from typing import Any

from recsys.config import ContentConfig
from recsys.content.assemble import Catalogue, encoder_of, reduction_file
from recsys.content.encoder import ContentBlock, Encoded
from recsys.content.encoders import encoder_family
from recsys.content.family import Modality
from recsys.content.reduce import Reduction
from recsys.device import pick_device
from recsys.probing.copies import COPYABLE
from recsys.probing.encoder import Answers, Questions, Subject, probe_encoder
from recsys.stages.embed import catalogue_of, vector_store
from recsys.stages.run import Run

__all__ = ["ask_encoders", "nobody_to_ask", "pools_words"]


def ask_encoders(
    run: Run, blocks: Sequence[ContentBlock], questions: Questions
) -> dict[str, Answers]:
    """Ask the encoders of contents, by name; those that are asked nothing are not even made.

    Raises:
        RecsysError: an encoder cannot be made any more, as when its weights are gone.
    """
    content = run.config.content
    asked = [block for block in blocks if _is_asked(content[block.name], questions)]
    if not asked:
        return {}
    catalogue, seed = catalogue_of(run), run.config.seed
    return {
        block.name: probe_encoder(_subject(run, block, catalogue), questions, seed=seed)
        for block in asked
    }


def nobody_to_ask(contents: Sequence[ContentConfig], *, copies: int, pairs: int) -> list[str]:
    """A line for each wish that fits none of the contents."""
    modalities = set(map(_modality, contents))
    notes = []
    if copies and not modalities & COPYABLE:
        notes.append("copies: no [content.NAME] has an encoder of text, images or sounds.")
    if pairs and "text" not in modalities:
        notes.append("pairs: no [content.NAME] has an encoder of text.")
    return notes


def pools_words(config: ContentConfig) -> bool:
    """Whether the encoder has vectors of words: what to do with unknown ones is their option."""
    return config.encoder is not None and "unknown" in encoder_family(config.encoder).options


def _is_asked(config: ContentConfig, questions: Questions) -> bool:
    modality = _modality(config)
    return (
        (questions.copies > 0 and modality in COPYABLE)
        or (len(questions.pairs) > 0 and modality == "text")
        or (any(questions.words) and pools_words(config))
    )


def _modality(config: ContentConfig) -> Modality | None:
    """What a content's encoder reads; None for ready-made vectors."""
    return None if config.encoder is None else encoder_family(config.encoder).modality


def _subject(run: Run, block: ContentBlock, catalogue: Catalogue) -> Subject:
    """The encoder of a content, with the reduction that was fitted on its vectors."""
    config = run.config.content[block.name]
    device = str(pick_device(run.config.training.device))
    encoder, contents = encoder_of(block.name, config, catalogue, vector_store(run), device)
    path = reduction_file(run.folder("content"), block.name)
    encode = _reduced(encoder.encode, Reduction.load(path)) if path.is_file() else encoder.encode
    return Subject(block, encoder, encode, encoder_family(str(config.encoder)).modality, contents)


def _reduced(
    encode: Callable[[Sequence[Any]], Encoded], reduction: Reduction
) -> Callable[[Sequence[Any]], Encoded]:
    return lambda contents: reduction.apply(encode(contents))
