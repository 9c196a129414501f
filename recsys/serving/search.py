"""Items by a text: the encoder that made the bundle's vectors, asked for one more."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.config_file import load_config
from recsys.content.assemble import Catalogue, reduction_file
from recsys.content.encoder import MISSING, ContentBlock, Encoder
from recsys.content.reduce import Reduction
from recsys.content.saved import load_blocks
from recsys.content.search import nearest
from recsys.content.shared_space import query_encoder
from recsys.content.store import VectorStore
from recsys.data.dataset import Dataset
from recsys.errors import ArtifactError, DataError
from recsys.serving.bundle import ENCODERS
from recsys.stages.embed import FITTED_ITEMS
from recsys.stages.search import asked_content, query_encoder_of

__all__ = ["TextSearch"]


@dataclass(frozen=True, eq=False)
class TextSearch:
    """Finds items by what their content says.

    Attributes:
        content: the name of the ``[content.NAME]`` that is asked.
        encoder: of texts.
        reduction: that the vectors went through, if any.
        block: the items' vectors.
    """

    content: str
    encoder: Encoder[Any]
    reduction: Reduction | None
    block: ContentBlock

    @classmethod
    def load(cls, folder: Path, encoders: Mapping[str, str]) -> Self:
        """Load the encoder of the first content that a text can ask.

        Args:
            folder: of a bundle, or of what becomes one.
            encoders: content -> encoder that made its vectors, with the digest of its weights.

        Raises:
            ConfigError: no content can be asked by a text, or its encoder or weights are not here.
            ArtifactError: the weights that are here are others than those which made the vectors.
        """
        config, content = load_config(folder / "config.toml"), folder / "content"
        name = asked_content(config.content, None, "a text")
        if not (content / FITTED_ITEMS).is_file():
            raise ArtifactError(
                f"{content / FITTED_ITEMS}: no such file; the run is of an old version"
            )
        dataset = Dataset.load(folder / "data")
        catalogue = Catalogue(
            dataset.items,
            dataset.item_ids,
            dataset.catalogue_rows,
            training=np.load(content / FITTED_ITEMS, allow_pickle=False),
            folder=folder,
        )
        store = VectorStore(folder / ENCODERS)
        encoder = query_encoder_of(config, name, "a text", catalogue, store)
        if query_encoder(str(config.content[name].encoder)) == config.content[name].encoder:
            _check_same(name, encoder.name, encoders[name])
        reduced = reduction_file(content, name)
        reduction = Reduction.load(reduced) if reduced.is_file() else None
        (block,) = (block for block in load_blocks(content) if block.name == name)
        return cls(name, encoder, reduction, block)

    def ask(self, text: str, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return numbers and cosines ``(k,)`` of the items nearest to a text, best first.

        Raises:
            DataError: the text cannot be encoded, such as one without letters.
        """
        encoded = self.encoder.encode([text])
        if not encoded.present[0]:
            raise DataError(f"text: {encoded.reasons.get(0, MISSING)}")
        if self.reduction is not None:
            encoded = self.reduction.apply(encoded)
        return nearest(self.block, encoded.vectors[0], k)


def _check_same(content: str, here: str, then: str) -> None:
    if here != then:
        raise ArtifactError(
            f"content {content}: its vectors were made by {then}, here is {here}; run embed again, "
            "or fetch the weights of then"
        )
