"""What not a content's vectors but its encoder is asked: copies, pairs of texts, words."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from recsys.content.encoder import ContentBlock, Encoded, Encoder
from recsys.content.family import Modality
from recsys.content.text.word_encoder import WordEncoder
from recsys.probing.copies import COPYABLE, recognise_copies
from recsys.probing.figures import Figure
from recsys.probing.pairs import Pair, sentence_similarity
from recsys.probing.words import WordAnswers, WordTests

__all__ = ["Answers", "Questions", "Subject", "probe_encoder"]


class Questions(NamedTuple):
    """What is asked.

    Attributes:
        copies: altered copies to recognise; 0 asks for none.
        pairs: of texts, with people's scores; none are not asked.
        words: of word vectors.
    """

    copies: int = 0
    pairs: Sequence[Pair] = ()
    words: WordTests = WordTests()


class Subject(NamedTuple):
    """A content with the encoder that made its vectors.

    Attributes:
        block: the vectors.
        encoder: before any reduction.
        encode: and after it: what made the block.
        modality: of the contents.
        contents: one an item.
    """

    block: ContentBlock
    encoder: Encoder[Any]
    encode: Callable[[Sequence[Any]], Encoded]
    modality: Modality
    contents: Sequence[Any]


class Answers(NamedTuple):
    """What came of it."""

    figures: dict[str, Figure]  # "copies" and "pairs", as far as they were asked and can be told
    words: WordAnswers | None  # of an encoder that has vectors of words
    notes: tuple[str, ...]


def probe_encoder(subject: Subject, questions: Questions, *, seed: int = 0) -> Answers:
    """Ask all that fits the encoder."""
    figures: dict[str, Figure | None] = {}
    notes = []
    name = subject.block.name
    if questions.copies and subject.modality in COPYABLE:
        found = recognise_copies(
            subject.block,
            subject.contents,
            subject.modality,
            subject.encode,
            questions.copies,
            seed=seed,
        )
        figures["copies"] = found.figure
        if found.unaltered:
            notes.append(f"{name}: {found.unaltered} contents could not be altered.")
    if questions.pairs and subject.modality == "text":
        figures["pairs"] = alike = sentence_similarity(subject.encoder, questions.pairs, seed=seed)
        known = 0 if alike is None else alike.n
        if known < len(questions.pairs):
            notes.append(f"{name}: {known:,} of {len(questions.pairs):,} pairs could be compared.")
    words = None
    if isinstance(subject.encoder, WordEncoder) and any(questions.words):
        words = questions.words.ask(subject.encoder.words, seed=seed)
    told = {task: figure for task, figure in figures.items() if figure is not None}
    return Answers(told, words, tuple(notes))
