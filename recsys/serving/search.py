"""Items by a text: the encoder that made the bundle's vectors, asked for one more."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import Config
from recsys.config_file import load_config
from recsys.content.assemble import Catalogue, reduction_file
from recsys.content.encoder import MISSING, ContentBlock, Encoder
from recsys.content.reduce import Reduction
from recsys.content.saved import load_blocks
from recsys.content.search import nearest
from recsys.content.shared_space import query_encoder
from recsys.content.store import VectorStore
from recsys.data.dataset_files import load_items
from recsys.errors import ArtifactError, DataError
from recsys.serving.bundle import ENCODERS
from recsys.serving.changes import ItemRows
from recsys.stages.embed import FITTED_ITEMS
from recsys.stages.search import asked_content, query_encoder_of

__all__ = ["LEARNT", "TextSearch", "learnt_catalogue"]

LEARNT = f"{ENCODERS}/catalogue"  # of a bundle that was rebuilt: what encoders had learnt from


@dataclass(frozen=True, eq=False)
class TextSearch:
    """Finds items by what their content says.

    Attributes:
        content: the name of the ``[content.NAME]`` that is asked.
        encoder: of texts.
        reduction: that the vectors went through, if any.
        block: the items' vectors.
        changed: items whose content is another now, and those that were added, ascending.
        beside: their content, a row each.
        there: which items of ``block`` and of ``beside`` may be found; None: all.
    """

    content: str
    encoder: Encoder[Any]
    reduction: Reduction | None
    block: ContentBlock
    changed: NDArray[np.int64] | None = None
    beside: ContentBlock | None = None
    there: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None

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
        catalogue = learnt_catalogue(folder, config)
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
        query = encoded.vectors[0]
        here, beside = self.there or (None, None)
        items, cosines = nearest(self.block, query, k, here)
        if self.beside is None or self.changed is None:
            return items, cosines
        places, more = nearest(self.beside, query, k, beside)
        items, cosines = np.append(items, self.changed[places]), np.append(cosines, more)
        best = np.lexsort((items, -cosines))[:k]
        return items[best], cosines[best]

    def with_changes(self, rows: ItemRows, removed: NDArray[np.int64]) -> Self:
        """The search over the items as they are now; the encoder is shared.

        Args:
            rows: items that were added or changed.
            removed: numbers of items that are found no more.
        """
        n = len(self.block.present)
        here = np.ones(n, dtype=np.bool_)
        for numbers in (rows.numbers, removed):
            here[numbers[numbers < n]] = False
        beside = next((block for block in rows.blocks if block.name == self.content), None)
        there = here, ~np.isin(rows.numbers, removed)
        return replace(self, changed=rows.numbers, beside=beside, there=there)


def learnt_catalogue(folder: Path, config: Config) -> Catalogue:
    """The catalogue that a bundle's encoders learnt from, or learn from again.

    Args:
        folder: of a bundle, or of what becomes one.
        config: of the run.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    kept = folder / LEARNT
    data, fitted = (kept, kept) if kept.is_dir() else (folder / "data", folder / "content")
    if not (fitted / FITTED_ITEMS).is_file():
        raise ArtifactError(f"{fitted / FITTED_ITEMS}: no such file; the run is of an old version")
    item_ids, rows, items = load_items(data)
    training = np.load(fitted / FITTED_ITEMS, allow_pickle=False)
    files = folder if config.data.items is None else config.data.items.parent
    return Catalogue(items, item_ids, rows, training=training, folder=files)


def _check_same(content: str, here: str, then: str) -> None:
    if here != then:
        raise ArtifactError(
            f"content {content}: its vectors were made by {then}, here is {here}; run embed again, "
            "or fetch the weights of then"
        )
