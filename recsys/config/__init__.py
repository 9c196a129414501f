"""The configuration: a TOML file into frozen, checked models. An unknown key is an error.

Relative paths in a file are relative to that file; paths given as ``key=value`` on the command line
are relative to where the command runs. ``{data_root}`` in a path stands for the key ``data_root``.
"""

from pathlib import Path

from pydantic import Field, model_validator

from recsys.config.content import (
    AttributeConfig,
    ContentConfig,
    EncoderOptions,
    FinetuneConfig,
)
from recsys.config.data import DataConfig, Protocol, Source, SplitConfig, SyntheticConfig
from recsys.config.section import Section
from recsys.config.serving import (
    BaselineName,
    Beyond,
    EvaluationConfig,
    IndexConfig,
    RecommendConfig,
    RerankConfig,
    RuleConfig,
    TrackingConfig,
)
from recsys.config.towers import HistoryEncoder, TowersConfig
from recsys.config.training import NewcomersConfig, TrainingConfig, UpdateConfig
from recsys.config.tuning import RangeConfig, TuneConfig, Values

__all__ = [
    "AttributeConfig",
    "BaselineName",
    "Beyond",
    "Config",
    "ContentConfig",
    "DataConfig",
    "EncoderOptions",
    "EvaluationConfig",
    "FinetuneConfig",
    "HistoryEncoder",
    "IndexConfig",
    "NewcomersConfig",
    "Protocol",
    "RangeConfig",
    "RecommendConfig",
    "RerankConfig",
    "RuleConfig",
    "Source",
    "SplitConfig",
    "SyntheticConfig",
    "TowersConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TuneConfig",
    "UpdateConfig",
    "Values",
]


RATED = ("movielens-small", "movielens-100k")  # sources that bring ratings


class Config(Section):
    """The whole configuration."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    data_root: Path | None = None
    data: DataConfig
    split: SplitConfig = SplitConfig()
    content: dict[str, ContentConfig] = Field(default_factory=dict)
    users: dict[str, AttributeConfig] = Field(default_factory=dict)
    towers: TowersConfig = TowersConfig()
    training: TrainingConfig = TrainingConfig()
    update: UpdateConfig = UpdateConfig()
    newcomers: NewcomersConfig = NewcomersConfig()
    index: IndexConfig = IndexConfig()
    recommend: RecommendConfig = RecommendConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    tune: TuneConfig = TuneConfig()

    @model_validator(mode="after")
    def _has_a_log(self) -> "Config":
        rated = self.data.weight is not None or self.data.source in RATED
        if self.training.rating_weight and not rated:
            raise ValueError("training.rating_weight needs ratings: data.weight = COLUMN")
        if self.recommend.rerank.vectors not in {"towers", *self.content}:
            raise ValueError('recommend.rerank.vectors: expected "towers" or a [content.NAME]')
        widths = self.towers.widths
        if self.index.dim is not None and self.index.dim not in widths:
            raise ValueError(
                f"index.dim = {self.index.dim}: expected towers.dim, or one of towers.nested: "
                f"{', '.join(map(str, widths))}"
            )
        if self.data.source is None and not self.data.interactions:
            if self.split.protocol != "files":
                raise ValueError("[data] needs interactions = FILE or source = NAME")
        elif self.split.protocol == "files":
            raise ValueError('protocol = "files" brings the log; leave out the one in [data]')
        return self
