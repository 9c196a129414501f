"""The tables [training], [newcomers] and [update]: how the towers learn."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from recsys.config.section import Section

__all__ = ["NewcomersConfig", "TrainingConfig", "UpdateConfig"]


class TrainingConfig(Section):
    """How the towers learn."""

    epochs: int = Field(default=60, ge=1)  # at most; early stopping chooses on validation NDCG@10
    patience: int = Field(default=6, ge=1)  # scorings without a better one before it stops
    score_every: int = Field(default=5, ge=1)  # epochs from one validation score to the next
    score_users: int = Field(default=20_000, ge=1)  # that a validation score asks, at most
    prefixes: Literal["one", "all"] = "one"  # of a user's sequence an epoch: a random one, or all
    short_histories: float = Field(
        default=0.1, ge=0, le=1
    )  # with one prefix: share of the histories that are cut to their last few items
    augment: Literal["none", "crop", "mask", "reorder"] = "none"  # with one prefix: of histories
    augment_share: float = Field(default=0.5, ge=0, le=1)  # of the histories, which are changed so
    contrast_weight: float = Field(
        default=0.0, ge=0
    )  # beside the loss, of telling two augmented views of a history apart from other users'
    user_balance: float = Field(
        default=0.5, ge=0, le=1
    )  # with all prefixes: 0, a batch's positions count alike; 1, its users
    batch_size: int = Field(default=128, ge=1)  # users of a step, over all processes that train
    accumulate: int = Field(
        default=1, ge=1
    )  # parts of a step that are computed one after another: less memory, the same step
    prefetch: int = Field(
        default=0, ge=0
    )  # batches that another process keeps ready; 0: drawn when they are needed
    checkpoint_seconds: float = Field(
        default=10.0, ge=0
    )  # from one checkpoint to the next, at least; large towers are saved more seldom
    table_optimizer: Literal["auto", "adamw", "row-wise"] = "auto"  # of ids: AdamW, or row-wise
    # Adam, where a step touches few rows; auto: that for tables over full_softmax_up_to rows
    precision: Literal["float32", "bfloat16"] = "float32"  # of matrix products on the CPU
    compile: bool = False  # transformer and fusion; on the CPU it takes a C++ compiler
    horizon: int = Field(default=10, ge=1)  # items after the cut that are to be guessed
    target_decay: float = Field(default=0.1, ge=0)  # the j-th of them weighs exp(-target_decay j)
    user_dropout: float = Field(default=0.5, ge=0, le=1)  # share of users played as unknown
    rating_weight: float = Field(
        default=0.0, ge=0
    )  # of the squared error of ratings (weights of the log) beside the loss; 0: no rating head
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of the steps with a rising rate
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)  # L2 norm of all gradients together
    loss: Literal["softmax", "gbce", "bpr"] = "softmax"
    negatives: Literal["auto", "all", "uniform", "popularity", "in-batch"] = "auto"
    # auto: all items while the catalogue fits, else drawn by popularity; with logQ
    full_softmax_up_to: int = Field(default=50_000, ge=1)  # items, for auto
    n_negatives: int = Field(default=512, ge=1)  # that a step draws and all its positions share
    negatives_power: float = Field(default=0.75, ge=0, le=2)  # of the number of rows: popularity
    hard_negatives: int = Field(default=0, ge=0)  # of each user, out of the nearest items
    hard_pool: int = Field(default=100, ge=1)  # how many of the nearest
    calibration: float = Field(default=0.75, ge=0, le=1)  # of gbce; 0: binary cross entropy
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # of the softmax
    teacher: Path | None = None  # the folder of a run with split.refit = false, whose towers are
    # learnt from as well
    teacher_refit: Path | None = None  # of the same with split.refit = true: it teaches on train +
    # validation. Absent: the first one does, who has not seen validation
    distill_weight: float = Field(default=5.0, ge=0)  # of that beside the loss
    distill_temperature: float = Field(
        default=0.5, gt=0
    )  # of the teacher's and the student's softmax: the lower, the more the teacher's best count
    device: str = "auto"  # "auto": CUDA where there is one, else the CPU

    @model_validator(mode="after")
    def _losses_and_negatives(self) -> "TrainingConfig":
        if self.teacher_refit is not None and self.teacher is None:
            raise ValueError(
                "teacher_refit needs teacher = FOLDER too, of a run with split.refit = false: it "
                "teaches while validation chooses the epochs"
            )
        if self.augment != "none" and self.prefixes == "all":
            raise ValueError(
                f'augment = {self.augment!r} goes with prefixes = "one": with "all", every item of '
                "a history is a target too"
            )
        if self.contrast_weight and self.accumulate > 1:
            raise ValueError(
                f"contrast_weight goes with accumulate = 1, not {self.accumulate}: views are told "
                "apart from all others of a step, which its parts do not see"
            )
        if self.loss != "softmax" and self.negatives == "all":
            raise ValueError(f'loss = {self.loss!r} needs drawn negatives, such as "uniform"')
        if self.loss != "softmax" and self.label_smoothing:
            raise ValueError(f"label_smoothing goes with the softmax, not with {self.loss!r}")
        if self.hard_negatives > self.hard_pool:
            raise ValueError(
                f"hard_negatives = {self.hard_negatives} out of hard_pool = {self.hard_pool}"
            )
        if self.hard_negatives and self.loss == "softmax" and self.negatives in ("auto", "all"):
            raise ValueError(
                'hard_negatives go with drawn negatives, such as negatives = "uniform": among all '
                "items the hard ones are there already"
            )
        return self


class NewcomersConfig(Section):
    """How items without interactions are placed by their content, beside trained towers."""

    dim: int = Field(default=64, ge=0, le=4096)  # what they add to a vector's width; 0: left out
    episodes: int = Field(default=20, ge=1)  # that play known items as new
    hidden: float = Field(default=0.1, gt=0, le=0.5)  # share of the items that each of them hides
    anchors: int = Field(default=4_000, ge=2)  # known items that a new one is compared with at most
    learning_rate: float = Field(default=0.1, gt=0)
    profile: float = Field(
        default=0.5, gt=0
    )  # what the taste of years counts beside the towers' view of a history
    later: bool = False  # learnt even if all items have interactions: for those added later


class UpdateConfig(Section):
    """How the towers of an earlier run learn on; absent ``start``: towers are trained afresh."""

    start: Path | None = None  # the folder of that run
    epochs: int = Field(default=10, ge=1)  # at most; early stopping as in training
    learning_rate: float = Field(default=1e-3, gt=0)
    replay: float = Field(default=1.0, ge=0)  # users without new rows for each with some, an epoch
