"""recsys, an embedding recommender. The data's way, one line per package, in import order.

    data          log -> dataset         columns, ids, splits, readers, built-in sources
    content       items -> vectors       encoders by name, the vector store
    probing       vectors -> figures     probes, clusters, co-interaction lift, maps
    towers        vectors -> towers      fusion, item tower, user tower, losses
    training      towers learn           batches, the loop, checkpoints, devices
    index         towers -> index        top-k contract, exact, Annoy
    recommenders  who gets what          two-tower and baselines behind one protocol
    evaluation    how good               metrics, tasks, baselines tuned on validation
    epochs        learning meets judging early stopping, refit, checkpoints
    fitting       all of it at once      the whole fit in one call
    batch         for everybody          every user's top k into parquet
    tracking      what was done          MLflow, or nothing, behind one protocol
    stages        config -> folders      prepare, embed, train, index, recommend, evaluate
    serving       one artefact           the bundle, MLflow, the promotion gate, HTTP
    report        to look at         charts, cards, the notebooks as pages
    cli           the command line

Names are loaded on first use, so that ``import recsys`` costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Config": "recsys.config",
    "ContentConfig": "recsys.config",
    "Dataset": "recsys.data.dataset",
    "Recommender": "recsys.recommenders.recommender",
    "Split": "recsys.data.splits",
    "TowersConfig": "recsys.config",
    "TrainingConfig": "recsys.config",
    "evaluate": "recsys.evaluation.evaluate",
    "fit": "recsys.fitting",
    "load_config": "recsys.config_file",
    "split": "recsys.data.splits",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  (the names are strings)


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'recsys' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
