"""One trial: towers trained with its setting and scored on validation, or given up on the way."""

import time
from dataclasses import dataclass

import optuna
from optuna.trial import Trial, TrialState

from recsys.config import Config
from recsys.data.splits import Split
from recsys.epochs import Phase
from recsys.errors import ConfigError, TrainingDiverged
from recsys.fitting import fit_towers
from recsys.stages.tune.space import Space
from recsys.stages.tune.study import STOPPED, WHY
from recsys.towers.grow import Blocks
from recsys.training.distill import Teachers
from recsys.training.loop import EpochReport

__all__ = ["CURVE", "EPOCHS", "SECONDS", "Learnable", "try_out"]

CURVE, EPOCHS, SECONDS = "losses", "epochs", "seconds"  # what is noted of a trial


@dataclass(frozen=True, eq=False)
class Learnable:
    """What all trials learn from: the split and content that stages have left, and teachers."""

    split: Split
    blocks: Blocks
    teachers: Teachers | None

    def score(self, config: Config, trial: Trial) -> float:
        """Train on train and return the best validation NDCG@10 of all epochs.

        Raises:
            optuna.TrialPruned: the pruner gives it up.
            TrainingDiverged: a loss is not finite.
        """
        fitted = fit_towers(
            self.split,
            self.blocks.items,
            config.towers,
            config.training,
            seed=config.seed,
            refit=False,  # the test part and the last training have no say
            on_epoch=_Watched(trial),
            user_blocks=self.blocks.users,
            teachers=self.teachers,
        )
        trial.set_user_attr(EPOCHS, fitted.epochs)
        return fitted.scores[fitted.epochs]


class _Watched:
    """Tells optuna of every scoring, and stops the training where the pruner says so."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.losses: list[float] = []

    def __call__(self, phase: Phase, report: EpochReport, score: float | None) -> None:  # noqa: ARG002
        self.losses.append(report.loss)
        if score is None:
            return
        self.trial.report(score, report.epoch)
        self.trial.set_user_attr(CURVE, self.losses)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"below others at epoch {report.epoch}")


def try_out(study: optuna.Study, trial: Trial, space: Space, learnable: Learnable) -> None:
    """Carry out a trial and note what came of it.

    A setting that cannot be, or that diverges, counts as pruned, so that fewer like it are drawn.
    What else goes wrong fails the trial and is raised; the next call tries another setting.
    """
    started = time.perf_counter()
    state, score, why = TrialState.FAIL, None, STOPPED
    try:
        score = learnable.score(space.applied(trial.params), trial)
        state, why = TrialState.COMPLETE, ""
    except (ConfigError, TrainingDiverged, optuna.TrialPruned) as reason:
        state, why = TrialState.PRUNED, str(reason)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise
    finally:  # Ctrl-C, too
        trial.set_user_attr(SECONDS, round(time.perf_counter() - started, 3))
        if why:
            trial.set_user_attr(WHY, why)
        study.tell(trial, score, state=state)
