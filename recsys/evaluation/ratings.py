"""How far predicted ratings are from those that were given, beside what needs no towers."""

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.data.tasks import Task
from recsys.towers.rating import RatingBaseline
from recsys.towers.two_tower import TwoTower

__all__ = ["rating_baselines", "rmse", "towers_rmse"]


def rmse(predicted: NDArray[np.float32], given: NDArray[np.float32]) -> float:
    """Root of the mean squared error of ``n`` ratings, in their own unit."""
    errors = predicted.astype(np.float64) - given
    return float(np.sqrt(np.mean(errors**2)))


def towers_rmse(towers: TwoTower, task: Task) -> float:
    """The towers' error over the truth of a task, users asked with its history.

    Args:
        towers: with a rating head.
        task: at least one user has truth; ``truth.weights`` are the ratings.

    Raises:
        ConfigError: the towers have no rating head.
    """
    users, rows = np.unique(task.truth.users, return_inverse=True)
    histories = task.history.histories().take(users)
    predicted = towers.predict_ratings(users, histories, rows, task.truth.items)
    return rmse(predicted, task.truth.weights)


def rating_baselines(learnt: Interactions, task: Task) -> dict[str, float]:
    """The errors of the mean of all ratings, and of mean plus biases of users and items.

    Args:
        learnt: the rows that the towers learnt from.
        task: what is asked.
    """
    baseline, truth = RatingBaseline.of(learnt), task.truth
    mean = np.full(len(truth), baseline.mean, dtype=np.float32)
    biases = baseline(truth.users, truth.items)
    return {"mean": rmse(mean, truth.weights), "biases": rmse(biases, truth.weights)}
