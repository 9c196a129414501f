"""VGGish (Hershey et al., 2017): VGG-11 on log-mel patches, trained to label videos.

Layer for layer the net of torchvggish, whose published weights it loads. Its 128 numbers are those
after the last rectifier; AudioSet's release whitened and quantised them, which is not done here.
"""

from pathlib import Path

from torch import Tensor, nn

from recsys.content.audio.nets import as_model
from recsys.content.encoder import Model
from recsys.content.random_networks import seeded
from recsys.content.weights_file import load_net, named_tensors, read_weights

__all__ = ["VGGish", "load_vggish", "vggish_net"]

CHANNELS: tuple[int | None, ...] = (64, None, 128, None, 256, 256, None, 512, 512, None)
FLAT = 6 * 4 * 512  # what is left of 96 frames and 64 bands after four times halving
HIDDEN, WIDTH = 4096, 128


class VGGish(nn.Module):
    """Patches (b, 96 frames, 64 bands) to vectors (b, 128), none below 0."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for channels in CHANNELS:
            if channels is None:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
                before = channels
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(FLAT, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, WIDTH),
            nn.ReLU(),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Return vectors (b, 128)."""
        maps = self.features(patches[:, None])  # (b, 512, 6, 4)
        vectors: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # channels last
        return vectors


def load_vggish(weights: Path | None, device: str) -> Model:
    """Load the net; None for random weights.

    Raises:
        ConfigError: the file holds other weights.
    """
    return as_model(vggish_net(weights), WIDTH, device)


def vggish_net(weights: Path | None, seed: int = 0) -> nn.Module:
    """Make the net as `load_vggish` does; ``seed`` is of random weights."""
    if weights is None:
        return seeded(VGGish, seed)
    state = named_tensors(read_weights(weights), weights)
    return load_net(VGGish, state, weights, "VGGish")
