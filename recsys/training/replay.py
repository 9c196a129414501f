"""Do a step again that was not finite, and say where numbers stop being numbers."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock
from recsys.device import pick_device, set_generator_states
from recsys.towers.saved import load_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.diverged import PLAIN, Moment, read_moment
from recsys.training.objective import Objective

__all__ = ["Finding", "Replayed", "replay"]

Where = Literal["weights", "content", "batch", "forward", "loss", "gradient"]


@dataclass(frozen=True)
class Finding:
    """A tensor with numbers that are not finite.

    Attributes:
        where: what kind of tensor it is.
        name: of the weight, the array, or the module whose output (or its gradient) it is.
        shape: of the tensor.
        bad: how many of its numbers are not finite.
        first: the place of the first of them.
        largest: the largest finite magnitude beside them.
    """

    where: Where
    name: str
    shape: tuple[int, ...]
    bad: int
    first: tuple[int, ...]
    largest: float

    @classmethod
    def of(cls, where: Where, name: str, tensor: Tensor) -> "Finding | None":
        """Look at a tensor; None: all of it is finite."""
        values = tensor.detach()
        values = values.to_dense() if values.is_sparse else values
        if not values.is_floating_point() or bool(values.isfinite().all()):
            return None
        wrong = ~values.isfinite()
        first = tuple(int(place) for place in wrong.nonzero()[0])
        largest = values[~wrong].abs().max() if bool((~wrong).any()) else torch.zeros(())
        return cls(where, name, tuple(values.shape), int(wrong.sum()), first, float(largest))

    def __str__(self) -> str:
        said = {
            "weights": f"the weight {self.name}",
            "content": f"{self.name}, which is content or prepared from it,",
            "batch": f"{self.name} of the batch",
            "forward": f"the output of {self.name}",
            "loss": "the loss, of numbers that are all finite,",
            "gradient": f"in the backward pass, the gradient of {self.name}",
        }[self.where]
        place = f", first at {list(self.first)}" if self.first else ""
        return (
            f"{said} of shape {list(self.shape)}: {self.bad:,} not finite{place}; the largest of "
            f"the others is {self.largest:.3g}"
        )


@dataclass(frozen=True)
class Replayed:
    """A step that was done again.

    Attributes:
        epoch: counted from 1.
        step: counted from 1.
        loss: this time.
        norm: of its gradient; None: there is none, as the backward pass broke off.
        findings: in the order in which they came up; what comes later follows from the first.
        operation: what torch calls the operation whose gradient is the first NaN; "" if none is.
    """

    epoch: int
    step: int
    loss: float
    norm: float | None
    findings: tuple[Finding, ...]
    operation: str = ""


def replay(
    folder: Path,
    blocks: Sequence[ContentBlock] = (),
    user_blocks: Sequence[ContentBlock] = (),
    device: str = "auto",
) -> Replayed:
    """Do the step again that `recsys.training.diverged.save_moment` wrote, and look everywhere.

    Hard negatives and a teacher are left out, and encoders that learn are not asked anew. Dropout
    repeats on a device of the same kind only.

    Args:
        folder: of the step.
        blocks: content of the items, as in that training.
        user_blocks: attributes of the users, likewise.
        device: see `recsys.device.pick_device`.

    Raises:
        ArtifactError: the folder cannot be read, or the content is another.
    """
    moment, config, path = read_moment(folder)
    towers = load_towers(path, blocks, user_blocks).to(pick_device(device)).train()
    found = [*_of_weights(towers), *_of_batch(moment)]
    set_generator_states(moment.generators, towers.device)
    random = np.random.default_rng()
    random.bit_generator.state = moment.random
    objective = Objective.again(config, towers.items.known.cpu().numpy(), moment.drawn)
    total, operation = torch.zeros((), device=towers.device), ""
    with _watched(towers, found.append), _named_operations():
        for part in moment.batch.parts(config.accumulate):
            loss = objective(towers, part, moment.drawn, random)
            total += loss.detach()
            operation = operation or _backward(loss)
    if not found and (of_loss := Finding.of("loss", "", total)):
        found.append(of_loss)
    gradients = {
        name: weight.grad for name, weight in towers.named_parameters() if weight.grad is not None
    }
    for name, gradient in gradients.items():
        found += _one("gradient", name, gradient)
    norm = nn.utils.get_total_norm(list(gradients.values()))
    if not found and not operation:
        found += _one("gradient", "all weights together, by its norm", norm)
    return Replayed(
        moment.epoch,
        moment.step,
        float(total),
        None if operation else float(norm),
        tuple(found),
        operation,
    )


def _backward(loss: Tensor) -> str:
    """Compute gradients; return the operation that gave the first NaN, as torch calls it."""
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "returned nan values" not in str(error):
            raise
        return str(error).split("'")[1]
    return ""


@contextmanager
def _named_operations() -> Iterator[None]:
    """Let torch stop at the first NaN of a backward pass, without its trace of this module."""
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore", UserWarning)
        yield


def _one(where: Where, name: str, tensor: Tensor) -> list[Finding]:
    found = Finding.of(where, name, tensor)
    return [] if found is None else [found]


def _of_weights(towers: TwoTower) -> list[Finding]:
    """Weights, and what the towers read that is no weight."""
    found = [
        one for name, weight in towers.named_parameters() for one in _one("weights", name, weight)
    ]
    saved = towers.state_dict()
    for name, buffer in towers.named_buffers():
        found += _one("weights" if name in saved else "content", name, buffer)
    return found


def _of_batch(moment: Moment) -> list[Finding]:
    arrays = {name: np.asarray(getattr(moment.batch, name)) for name in PLAIN}
    if moment.drawn is not None:
        arrays["log_q of the negatives"] = moment.drawn.log_q
    pairs = ((name, torch.from_numpy(array)) for name, array in arrays.items())
    return [one for name, tensor in pairs for one in _one("batch", name, tensor)]


@contextmanager
def _watched(towers: TwoTower, tell: Callable[[Finding], None]) -> Iterator[None]:
    """Look at every module's output when it is there, and at its gradient."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
            for tensor in _tensors(outputs):
                if (found := Finding.of("forward", name, tensor)) is not None:
                    tell(found)
                if tensor.requires_grad:
                    tensor.register_hook(back)  # type: ignore[no-untyped-call]

        def back(gradient: Tensor) -> None:
            if (found := Finding.of("gradient", f"the output of {name}", gradient)) is not None:
                tell(found)

        return look

    modules = [(name or "towers", module) for name, module in towers.named_modules()]
    hooks = [module.register_forward_hook(hook(name)) for name, module in modules]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating point tensors in what a module returns."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
