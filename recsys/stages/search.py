"""What ``recsys search`` does: items by what their content says, from a text or a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from recsys.config import Config, ContentConfig
from recsys.config_file import load_config
from recsys.content.assemble import Catalogue, encoder_of, reduction_file
from recsys.content.encoder import MISSING, Encoder
from recsys.content.encoders import encoder_family, make_encoder
from recsys.content.family import Wanted
from recsys.content.reduce import Reduction
from recsys.content.saved import load_blocks
from recsys.content.search import nearest
from recsys.content.shared_space import has_texts_beside, query_encoder
from recsys.content.store import VectorStore
from recsys.device import pick_device
from recsys.errors import ConfigError, DataError
from recsys.recommenders.tables import label_items
from recsys.stages.command import CONFIG_FILE
from recsys.stages.embed import catalogue_of, vector_store
from recsys.stages.run import Run
from recsys.stages.stage import inputs_of
from recsys.stages.train import train_stage

__all__ = ["asked_content", "query_encoder_of", "search_table"]


def search_table(run_folder: Path, query: str | Path, content: str | None, k: int) -> Table:
    """The items whose content is nearest to a query.

    Args:
        run_folder: where ``recsys run`` or ``recsys embed`` wrote.
        query: a text, or a file (an image for images, a sound for sounds).
        content: the name of a ``[content.NAME]``; the first that such a query can ask if absent.
        k: how many.

    Raises:
        ConfigError: there is no such content, or none that the query can ask.
        ArtifactError: the run's vectors were made with another config.
        DataError: the query cannot be encoded.
    """
    config = load_config(run_folder / CONFIG_FILE)
    run = Run(config, run_folder.resolve(), (config.seed,))
    inputs_of(train_stage(run, config.seed))  # refuses vectors that are not what the config says
    name = asked_content(config.content, content, query)
    catalogue = catalogue_of(run)
    encoder = query_encoder_of(config, name, query, catalogue, vector_store(run))
    encoded = encoder.encode([query])
    if not encoded.present[0]:
        raise DataError(f"search: {query}: {encoded.reasons.get(0, MISSING)}")
    folder = run.folder("content")
    if reduction_file(folder, name).is_file():
        encoded = Reduction.load(reduction_file(folder, name)).apply(encoded)
    (block,) = (block for block in load_blocks(folder) if block.name == name)
    items, cosines = nearest(block, encoded.vectors[0], k)
    shown = Table(title=f"nearest to {escape(str(query))} by {name}", title_justify="left")
    for heading in ("item", "title"):
        shown.add_column(heading)
    shown.add_column("cosine", justify="right")
    item_ids = catalogue.item_ids.ids(items)
    titles = label_items(catalogue.items, items, item_ids)
    for item_id, title, cosine in zip(item_ids, titles, cosines, strict=True):
        shown.add_row(escape(str(item_id)), escape(title), f"{cosine:.3f}")
    return shown


def asked_content(
    contents: Mapping[str, ContentConfig], name: str | None, query: str | Path
) -> str:
    """Return the name of the content that is asked: ``name`` if there is one, else the first able.

    Raises:
        ConfigError: there is no such content, or none that the query can ask.
    """
    able = [key for key, config in contents.items() if _can_ask(config, query)]
    if name is None and able:
        return able[0]
    if name in able:
        return name
    kind = "file" if isinstance(query, Path) else "text"
    others = f"those that can: {', '.join(able) or 'none'}"
    if name is None:
        raise ConfigError(f"search: no content of this run can be asked by a {kind}")
    if name not in contents:
        raise ConfigError(f"search: there is no [content.{name}]; {others}")
    raise ConfigError(f"search: [content.{name}] cannot be asked by a {kind}; {others}")


def _can_ask(config: ContentConfig, query: str | Path) -> bool:
    if config.encoder is None:
        return False
    modality = encoder_family(config.encoder).modality
    if isinstance(query, Path):
        return modality in ("image", "audio")
    return modality == "text" or has_texts_beside(config.encoder)


def query_encoder_of(
    config: Config, name: str, query: str | Path, catalogue: Catalogue, store: VectorStore
) -> Encoder[Any]:
    """Return the encoder of a content, or the one that puts texts in the same space.

    Args:
        config: of the run.
        name: of the content.
        query: a text, or a file.
        catalogue: the items, for encoders that learn from them.
        store: keeps what those learnt.

    Raises:
        ConfigError: the encoder or its weights are not here.
    """
    content = config.content[name]
    device = str(pick_device(config.training.device))
    encoder_name = str(content.encoder)
    asking = encoder_name if isinstance(query, Path) else query_encoder(encoder_name)
    if asking != encoder_name:
        return make_encoder(asking, Wanted(device=device))
    encoder, _ = encoder_of(name, content, catalogue, store, device)
    return encoder
