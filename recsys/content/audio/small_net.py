"""A small convolutional net over log-mel spectrograms, for those who learn from scratch."""

from torch import Tensor, nn

__all__ = ["SmallNet"]

CHANNELS = (32, 64, 128, 128)
BANDS = 96
WIDTH = CHANNELS[-1] * (BANDS >> len(CHANNELS))
GROUPS = 8


class SmallNet(nn.Module):
    """Spectrograms (b, t frames, 96 bands) to vectors (b, 768), none below 0.

    Channels are normalised in groups, within each sound: nothing hangs on what else is in a batch.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, channels in zip((1, *CHANNELS), CHANNELS, strict=False):
            layers += [
                nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(GROUPS, channels),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        """Return vectors (b, 768): mean plus maximum over time, of each channel in each band."""
        maps: Tensor = self.layers(frames[:, None])  # (b, 128, t / 16, 6)
        return (maps.mean(dim=2) + maps.amax(dim=2)).flatten(1)
