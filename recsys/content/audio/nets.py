"""What the nets for sound share: a model of them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.content.encoder import Model
from recsys.device import autocast, pick_device, to_device

__all__ = ["as_model"]


def as_model(net: nn.Module, dim: int, device: str) -> Model:
    """Return a model that maps windows (b, ...) to vectors (b, dim) by a net."""
    place = pick_device(device)
    net = net.to(place).eval()

    @torch.inference_mode()
    def forward(views: NDArray[np.float32]) -> NDArray[np.float32]:
        with autocast(place):
            vectors: Tensor = net(to_device(views, place))
        return vectors.float().cpu().numpy()

    return Model(dim, forward)
