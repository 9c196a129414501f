"""The encoder that pools word vectors, learnt or read; the words themselves can be asked for."""

from collections.abc import Callable, Sequence
from functools import cached_property

from recsys.content.encoder import Model
from recsys.content.learnt import digest_contents
from recsys.content.text.prepare import Preparation, training_words
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.words import Pooling, WordVectors, word_model

__all__ = ["WordEncoder"]

BATCH = 512  # texts in one call of the model


class WordEncoder(TextEncoder):
    """Texts by the vectors of their words."""

    def __init__(
        self,
        name: str,
        find: Callable[[], WordVectors],
        preparation: Preparation,
        pooling: Pooling,
        contents: Sequence[str | None],
    ) -> None:
        """Prepare an encoder.

        Args:
            name: of the words and their digest; what else matters is added to it.
            find: learns or reads the words, when they are first needed.
            preparation: how a text becomes words.
            pooling: how their vectors become one.
            contents: the training texts, for poolings that are fitted on them.
        """

        def load() -> Model:
            texts = training_words(contents, preparation) if pooling.fitted else []
            return word_model(self.words, preparation, pooling, texts)

        fitted = f"-{digest_contents(contents, {})[:12]}" if pooling.fitted else ""
        super().__init__(f"{name}+{preparation.key}+{pooling.key}{fitted}", load, batch=BATCH)
        self._find = find

    @cached_property
    def words(self) -> WordVectors:
        """The words with their vectors ``(v, dim)``."""
        return self._find()
