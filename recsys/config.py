"""The configuration: a TOML file into frozen, checked models. An unknown key is an error.

Relative paths in a file are relative to that file; paths given as ``key=value`` on the command line
are relative to where the command runs. ``{data_root}`` in a path stands for the key ``data_root``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Config",
    "ContentConfig",
    "DataConfig",
    "EncoderOptions",
    "EvaluationConfig",
    "IndexConfig",
    "RecommendConfig",
    "SplitConfig",
    "SyntheticConfig",
    "TowersConfig",
    "TrackingConfig",
    "TrainingConfig",
]

Source = Literal["movielens-small", "movielens-100k", "synthetic", "sequences"]
Protocol = Literal[
    "user-time",
    "leave-last-out",
    "global-time",
    "random",
    "cold-items",
    "cold-users",
    "column",
    "files",
]


class Section(BaseModel):
    """A table of the configuration: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SyntheticConfig(Section):
    """The seeded generator of ``source = "synthetic"``."""

    users: int = Field(default=400, ge=2)
    items: int = Field(default=300, ge=2)
    per_user: int = Field(
        default=20, ge=2
    )  # interactions of each user, at most a third of the items
    tastes: int = Field(default=8, ge=2)  # width of the latent taste of users and items
    carrier: Literal["text", "image", "sound"] = "text"  # shows all but two of the tastes
    noise: float = Field(
        default=0.1, ge=0
    )  # standard deviation of what no content shows, tastes have 1
    seed: int = Field(default=0, ge=0, lt=2**31)


class DataConfig(Section):
    """The log, the catalogue and the users, and what their columns are called."""

    source: Source | None = None
    interactions: tuple[Path, ...] = ()  # files, or one folder (parts in name order)
    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None  # absent: row order is time order
    weight: str | None = None
    positive_from: float | None = None  # absent: every row is positive
    delimiter: str | None = None  # absent: detected among , ; tab |
    duplicates: Literal["last", "first", "sum"] = "last"  # of one user and item, which row stays
    user_core: int = Field(
        default=1, ge=1
    )  # drop users with fewer rows, items likewise, until none is
    item_core: int = Field(default=1, ge=1)
    items: Path | None = None
    item_key: str | None = None  # absent: as ``item``
    users: Path | None = None
    user_key: str | None = None
    path: Path | None = None  # of a built-in source: its folder or zip
    synthetic: SyntheticConfig = SyntheticConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_file_or_many(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("interactions"), str | Path):
            return {**values, "interactions": (values["interactions"],)}
        return values

    @model_validator(mode="after")
    def _has_a_log(self) -> "DataConfig":
        if self.source == "sequences" and not self.interactions:
            raise ValueError('source = "sequences" needs interactions = FILE')
        if self.source not in (None, "sequences") and self.interactions:
            raise ValueError(f'give either source = "{self.source}" or interactions, not both')
        return self


class SplitConfig(Section):
    """Which part of the log is learnt from, which chooses, which tests."""

    protocol: Protocol = "user-time"
    test_fraction: float = Field(default=0.2, gt=0, lt=1)  # of a user's rows, all rows, or items
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)  # of each user's training rows
    seed: int = Field(default=0, ge=0, lt=2**31)  # of random, cold-items, cold-users
    column: str | None = None  # of the log, with protocol = "column"
    train: Path | None = None  # with protocol = "files"
    validation: Path | None = None
    test: Path | None = None
    refit: bool = True  # train again on train + validation for the chosen number of epochs

    @model_validator(mode="after")
    def _complete(self) -> "SplitConfig":
        if self.protocol == "column" and self.column is None:
            raise ValueError('protocol = "column" needs column = NAME')
        if self.protocol == "files" and (self.train is None or self.test is None):
            raise ValueError('protocol = "files" needs train = FILE and test = FILE')
        return self


class EncoderOptions(Section):
    """Settings of an encoder; absent: its own choice. `recsys encoders` says which it obeys."""

    tokenizer: Literal["words", "whitespace", "chinese"] | None = None
    lower_case: bool | None = None
    stop_words: str | None = None  # a language: "english", "de"; these words are left out
    pooling: (
        Literal["mean", "max", "min", "tf-idf", "sif", "cls", "last", "pooler", "static"] | None
    ) = None  # of words, tokens, or the windows of a sound
    unknown: Literal["skip", "zero", "random", "ngrams", "context"] | None = None  # words
    width: int | None = Field(default=None, ge=1, le=4096)  # of vectors that are learnt here
    window: int | None = Field(
        default=None, ge=1, le=1_000
    )  # words on each side that count as context
    epochs: int | None = Field(default=None, ge=1)  # of what is learnt here
    seed: int | None = Field(default=None, ge=0, lt=2**31)


class ContentConfig(Section):
    """One kind of content of items: columns through an encoder, or vectors as they are."""

    columns: tuple[str, ...] = ()
    encoder: str | None = None  # `recsys encoders` lists all
    options: EncoderOptions = EncoderOptions()
    folder: Path | None = None  # of images and sounds; absent: the folder of the items' file
    reduce: Literal["pca", "random"] | None = None  # to ``dim``, fitted on the training items
    dim: int | None = Field(default=None, ge=1, le=4096)
    precision: Literal["float32", "float16"] = "float32"  # of the vectors in the store
    workers: int | None = Field(
        default=None, ge=0
    )  # processes that decode files; absent: as many as there are cores, 0 for few files
    vectors: Path | None = None  # .npy (n, d), or parquet with an id and a list column
    ids: str | None = None  # a file; "items": row i = row i of items; "row": the number is the id
    missing: Literal["nan", "zero"] = "nan"  # how the vector file marks an absent item

    @model_validator(mode="after")
    def _one_way(self) -> "ContentConfig":
        if (self.encoder is None) == (self.vectors is None):
            raise ValueError("give either columns and encoder, or vectors")
        if self.encoder is not None and not self.columns:
            raise ValueError(f"encoder = {self.encoder!r} needs columns = [...]")
        if (self.reduce is None) != (self.dim is None):
            raise ValueError('reduce = "pca" (or "random") and dim = NUMBER go together')
        if self.vectors is not None:
            useless = {"columns", "options", "folder", "precision", "workers"}
            given = sorted(useless & self.model_fields_set)
            if given:
                raise ValueError(f"vectors = FILE does not go with {', '.join(given)}")
        return self


class TowersConfig(Section):
    """The two towers; both end in unit vectors."""

    dim: int = Field(default=128, ge=2, le=4096)  # of a vector: all members together
    members: int = Field(default=2, ge=1)  # independent models side by side in a vector
    encoder: Literal["means", "attention", "gru", "transformer"] = "means"  # of the history
    history: int = Field(default=100, ge=1)  # how many of the last items the user tower reads
    history_items: Literal["own", "shared"] = "own"  # a past item's vector: its own table's, or
    # the item tower's, which knows content too
    speeds: int = Field(default=4, ge=1)  # means of the history, each with a rate of forgetting
    layers: int = Field(default=2, ge=1)  # of the transformer or the GRU
    heads: int = Field(default=2, ge=1)  # of attention, in each member
    dropout: float = Field(default=0.2, ge=0, lt=1)  # inside the transformer or the GRU
    history_dropout: float = Field(default=0.2, ge=0, lt=1)  # of the vectors of past items
    item_dropout: float = Field(default=0.2, ge=0, lt=1)  # of past items as a whole
    user_id: bool = False  # a learned vector a user, beside the history
    temperature: float = Field(default=0.1, gt=0)  # at first; it is learnt

    @model_validator(mode="after")
    def _equal_members(self) -> "TowersConfig":
        if self.dim % self.members or self.dim < 2 * self.members:
            raise ValueError(
                f"dim = {self.dim} cannot be cut into members = {self.members} parts of equal "
                "width, at least 2"
            )
        return self


class TrainingConfig(Section):
    """How the towers learn."""

    epochs: int = Field(default=60, ge=1)  # at most; early stopping chooses on validation NDCG@10
    patience: int = Field(default=3, ge=1)  # scorings without a better one before it stops
    score_every: int = Field(default=5, ge=1)  # epochs from one validation score to the next
    prefixes: Literal["one", "all"] = "one"  # of a user's sequence an epoch: a random one, or all
    user_balance: float = Field(
        default=0.5, ge=0, le=1
    )  # with all prefixes: 0, every position counts alike; 1, every user
    batch_size: int = Field(default=128, ge=1)  # users
    precision: Literal["float32", "bfloat16"] = "float32"  # of matrix products on the CPU
    horizon: int = Field(default=10, ge=1)  # items after the cut that are to be guessed
    target_decay: float = Field(default=0.1, ge=0)  # the j-th of them weighs exp(-target_decay j)
    user_dropout: float = Field(default=0.5, ge=0, le=1)  # share of users played as unknown
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of the steps with a rising rate
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)  # L2 norm of all gradients together
    loss: Literal["auto", "full", "in-batch"] = "auto"  # auto: full while the catalogue fits
    full_softmax_up_to: int = Field(default=50_000, ge=1)  # items; above it, in-batch with logQ
    device: str = "auto"  # "auto": CUDA where there is one, else the CPU


class IndexConfig(Section):
    """What recommendations are served from."""

    kind: Literal["annoy", "exact"] = "annoy"
    trees: int = Field(default=100, ge=1)
    inspect: float = Field(default=0.28, gt=0, le=1)  # share of the items that a query looks at
    at_least: int = Field(default=300, ge=1)  # items looked at however few that share is
    at_most: int = Field(default=5_000, ge=1)  # and however many
    n_jobs: int = Field(default=1, ge=1)  # 1: the same file every time
    seed: int = Field(default=0, ge=0, lt=2**31)


class RecommendConfig(Section):
    """Everybody's recommendations."""

    k: int = Field(default=10, ge=1)
    history: Literal["all", "train"] = "all"  # what counts as seen and feeds the user tower
    format: Literal["parquet", "csv", "jsonl"] = "parquet"
    part_users: int = Field(default=100_000, ge=1)  # in one file
    batch_size: int = Field(default=1_024, ge=1)


class EvaluationConfig(Section):
    """What is measured against what."""

    candidates: Literal["train", "catalogue"] = "train"
    ks: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10, 20), min_length=1)
    baselines: tuple[Literal["popularity", "item-knn", "als", "bpr", "ease"], ...] = (
        "popularity",
        "item-knn",
        "als",
        "bpr",
        "ease",
    )
    tune_baselines: bool = True  # a small search on validation; the chosen values are printed
    batch_size: int = Field(default=256, ge=1)
    minimum: dict[str, float] = {}  # metric -> least value for the two-tower; below it exit 1


class TrackingConfig(Section):
    """Where runs are recorded."""

    kind: Literal["mlflow", "none"] = "mlflow"
    uri: str | None = None  # absent: MLFLOW_TRACKING_URI, else sqlite beside the run folders
    experiment: str = "recsys"


class Config(Section):
    """The whole configuration."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    data_root: Path | None = None
    data: DataConfig
    split: SplitConfig = SplitConfig()
    content: dict[str, ContentConfig] = {}
    towers: TowersConfig = TowersConfig()
    training: TrainingConfig = TrainingConfig()
    index: IndexConfig = IndexConfig()
    recommend: RecommendConfig = RecommendConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _has_a_log(self) -> "Config":
        if self.data.source is None and not self.data.interactions:
            if self.split.protocol != "files":
                raise ValueError("[data] needs interactions = FILE or source = NAME")
        elif self.split.protocol == "files":
            raise ValueError('protocol = "files" brings the log; leave out the one in [data]')
        return self
