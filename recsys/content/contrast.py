"""Contrastive learning without labels: SimCLR (Chen et al., 2020), for images and sounds alike.

Two altered views of one input shall lie near each other and far from all other inputs of a batch.
What is altered, and how, is the caller's: `image.augment`, `audio.augment`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.content.learnt import Arrays
from recsys.device import autocast
from recsys.errors import DataError, TrainingDiverged
from recsys.progress import track

__all__ = ["ContrastSettings", "contrast", "nt_xent", "weights_of"]

PROJECTED = 128  # width of the space where views are compared

Views = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class ContrastSettings:
    """How to learn.

    Attributes:
        epochs: passes over all inputs.
        batch: inputs at a time; each is told from ``2 batch - 2`` views of others.
        rate: of AdamW at its highest; it rises over the first tenth of the steps, then falls as a
            cosine.
        temperature: of the softmax over similarities.
        seed: of the order, the views and the projection's first weights.
    """

    epochs: int = 5
    batch: int = 64
    rate: float = 5e-4
    temperature: float = 0.1
    seed: int = 0


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the normalised-temperature cross entropy between views (Chen et al., 2020, eq. 1).

    Args:
        first: one view of each of n inputs, ``(n, d)``; of any length.
        second: the other views in the same order, ``(n, d)``.
        temperature: cosines are divided by it.

    Returns:
        The mean over all 2n views of -log softmax of the cosine with the other view of the same
        input, among the cosines with all views but itself; a scalar.
    """
    units = functional.normalize(torch.cat([first, second]).float())
    similar = units @ units.T / temperature
    similar = similar.masked_fill(torch.eye(len(units), device=units.device).bool(), -math.inf)
    partner = torch.arange(len(units), device=units.device).roll(len(first))
    return functional.cross_entropy(similar, partner)


def contrast(
    views_of: Views,
    network: nn.Module,
    width: int,
    inputs: Tensor,
    settings: ContrastSettings,
) -> list[float]:
    """Train ``network`` in place; returns the mean loss of each epoch.

    The views are compared after a projection of two layers, which is thrown away: the features
    before it serve better. The network learns in the mode that it comes in: in evaluation mode its
    batch norms keep their statistics, which is right for one that was trained on far more.

    Args:
        views_of: alters inputs ``(b, ...)``, at random and each on its own, into what the network
            takes in; called twice a batch. The generator lives where the inputs are.
        network: maps views to features ``(b, width)``; says by its device where to compute.
        width: of the features.
        inputs: ``(n, ...)``, n at least 2; on the CPU or where the network is.
        settings: how to learn.

    Raises:
        DataError: there are fewer than two inputs.
        TrainingDiverged: the loss is not finite.
    """
    n = len(inputs)
    if n < 2:
        raise DataError(f"contrastive learning: {n} inputs, expected at least 2")
    device = next(network.parameters()).device
    batch = min(settings.batch, n)
    steps = n // batch  # inputs that are left over have their turn in another epoch
    projection = _projection(width, settings.seed).to(device)
    step = _Step(network, projection, settings, steps * settings.epochs)
    random = torch.Generator(inputs.device).manual_seed(settings.seed)
    order = np.random.default_rng(settings.seed)
    losses = []
    for _ in track(range(settings.epochs), "contrastive learning", settings.epochs):
        rows = torch.from_numpy(order.permutation(n)[: steps * batch]).view(steps, batch)
        total = torch.zeros((), device=device)  # read once an epoch: reading it halts a GPU
        for chosen in rows:
            some = inputs[chosen.to(inputs.device)]
            views = torch.cat([views_of(some, random), views_of(some, random)])
            total += step(views.to(device))
        losses.append(float(total) / steps)
        if not math.isfinite(losses[-1]):
            raise TrainingDiverged(
                f"contrastive learning: the loss is {losses[-1]}; check the inputs, lower the rate"
            )
    return losses


def weights_of(network: nn.Module) -> Arrays:
    """Return the weights of a network by name, and the statistics of its batch norms.

    Their counters of batches are left out: nothing is computed with them.
    """
    state = network.cpu().state_dict()
    return {name: value.numpy() for name, value in state.items() if value.is_floating_point()}


class _Step:
    """One step of the optimiser after another."""

    def __init__(
        self, network: nn.Module, projection: nn.Module, settings: ContrastSettings, steps: int
    ) -> None:
        self.network, self.projection, self.settings = network, projection, settings
        parameters = [*network.parameters(), *projection.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=settings.rate, weight_decay=1e-4)
        warm = max(1, steps // 10)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser,
            lambda at: min((at + 1) / warm, (1 + math.cos(math.pi * at / steps)) / 2),
        )

    def __call__(self, views: Tensor) -> Tensor:
        """Learn from ``(2b, ...)`` views, first and second ones of b inputs; returns the loss."""
        with autocast(views.device):
            projected = self.projection(self.network(views))
        first, second = projected.chunk(2)
        loss = nt_xent(first, second, self.settings.temperature)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        return loss.detach()


def _projection(width: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTED))
