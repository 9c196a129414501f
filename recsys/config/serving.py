"""The tables [index], [recommend], [evaluation] and [tracking]: what becomes of the towers."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from recsys.config.section import Section

__all__ = [
    "BaselineName",
    "Beyond",
    "EvaluationConfig",
    "IndexConfig",
    "RecommendConfig",
    "RerankConfig",
    "RuleConfig",
    "TrackingConfig",
]

Beyond = Literal[
    "gini", "novelty", "popularity", "serendipity", "diversity", "calibration", "new_items"
]

BaselineName = Literal[
    "random",
    "popularity",
    "decayed-popularity",
    "logistic",
    "item-knn",
    "als",
    "bpr",
    "ease",
    "content-cosine",
    "content-ridge",
]


class IndexConfig(Section):
    """What recommendations are served from."""

    kind: Literal["annoy", "exact", "hnsw"] = "annoy"  # hnsw: by hnswlib, of the extra "hnsw"
    vectors: Literal["float32", "float16", "int8"] = "float32"  # how a number of them is stored;
    # the trees of annoy and the graph of hnsw have float32 of their own
    dim: int | None = Field(default=None, ge=2)  # of vectors that are cut: one of towers.nested
    recall: float = Field(default=0.998, gt=0, le=1)  # of exact search's best, measured with users;
    # what is missed costs about as large a share of NDCG
    recall_k: int = Field(default=20, ge=1)  # so many best
    inspect: float | None = Field(default=None, gt=0, le=1)  # share of the items that a query may
    # look at, at most; absent: as many as the recall takes
    search_k: int | None = Field(default=None, ge=1)  # Annoy's, or ef of hnsw; absent: the
    # least that reaches the recall
    trees: int | None = Field(default=None, ge=1)  # absent: as many as megabytes hold, 10 to 100
    megabytes: int = Field(default=2_000, ge=1)  # of the forest's file
    n_jobs: int = Field(default=1, ge=1)  # 1: the same file every time
    seed: int = Field(default=0, ge=0, lt=2**31)


class RuleConfig(Section):
    """What some users may get; of several rules that are about a user, all apply."""

    users: str | None = None  # a condition over the users' table; absent: everybody
    items: str  # a condition over the catalogue


class RerankConfig(Section):
    """What counts beside the score when the k are chosen; all off by default."""

    pool: int = Field(default=100, ge=1)  # best by score, out of which the k are chosen
    diversity: float = Field(default=0.0, ge=0, le=1)  # weight of unlikeness to what is above
    vectors: str = "towers"  # by which items are alike; or the NAME of a [content.NAME]
    dampening: float = Field(default=0.0, ge=0)  # weight against popularity
    freshness: float = Field(default=0.0, ge=0)  # weight for what is new
    half_life: float = Field(default=365.0, gt=0)  # days after which it is half as fresh
    date: str | None = None  # column of the catalogue; absent: when an item was first taken
    # (one never taken, such as one added later, is of unknown age and gets nothing)
    per_category: int | None = Field(default=None, ge=1)  # so many of a category among the k
    category: str | None = None  # column of the catalogue, with labels

    @model_validator(mode="after")
    def _has_categories(self) -> "RerankConfig":
        if self.per_category is not None and self.category is None:
            raise ValueError("per_category needs category = COLUMN of the catalogue")
        return self

    @property
    def active(self) -> bool:
        """Whether anything counts beside the score."""
        weights = (self.diversity, self.dampening, self.freshness)
        return any(weights) or self.per_category is not None


class RecommendConfig(Section):
    """Everybody's recommendations."""

    k: int = Field(default=10, ge=1)
    history: Literal["all", "train"] = "all"  # what counts as seen and feeds the user tower
    format: Literal["parquet", "csv", "jsonl"] = "parquet"
    part_users: int = Field(default=100_000, ge=1)  # in one file
    batch_size: int = Field(default=1_024, ge=1)
    search: Literal["auto", "index", "exact"] = "auto"  # auto: the faster of the two, measured
    where: str | None = None  # a condition over the catalogue that every item must meet
    rules: tuple[RuleConfig, ...] = ()  # further ones, of some users
    rerank: RerankConfig = RerankConfig()


class EvaluationConfig(Section):
    """What is measured against what."""

    candidates: Literal["train", "catalogue"] = "train"
    ks: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10, 20), min_length=1)
    baselines: tuple[BaselineName, ...] | None = None  # absent: those that suit log and split
    beyond: tuple[Beyond, ...] = get_args(
        Beyond
    )  # beside accuracy; what lacks its data is left out
    categories: str | None = None  # column of labels; absent: the first content of categories
    tune_baselines: bool = True  # a small search on validation; the chosen values are printed
    batch_size: int = Field(default=256, ge=1)
    reference: Literal["two-tower", "two-tower-exact"] | BaselineName = "two-tower"  # of verdicts
    slices: tuple[Annotated[str, Field(pattern=r"^(users|items)\..+")], ...] = ()  # more of them
    minimum: dict[str, float] = Field(
        default_factory=dict
    )  # metric -> least value for the two-tower; below it exit 1

    @property
    def headline(self) -> str:
        """The metric by which models are compared: NDCG@10, or at the first k there is."""
        return f"ndcg@{10 if 10 in self.ks else self.ks[0]}"


TrackerName = Literal["mlflow", "tensorboard", "wandb"]


class TrackingConfig(Section):
    """Where runs are recorded."""

    kind: TrackerName | Literal["none"] | tuple[TrackerName, ...] = "mlflow"
    uri: str | None = None  # of MLflow; absent: MLFLOW_TRACKING_URI, else sqlite beside the runs
    experiment: str = "recsys"  # W&B's project
    system_metrics: bool = False  # what the process takes of processors, memory and the GPU
    system_seconds: float = Field(default=5.0, gt=0)  # from one sample to the next

    @property
    def kinds(self) -> tuple[TrackerName, ...]:
        """The trackers that are told, each once."""
        if isinstance(self.kind, tuple):
            return tuple(dict.fromkeys(self.kind))
        return () if self.kind == "none" else (self.kind,)
