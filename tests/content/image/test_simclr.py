"""Contrastive learning: its loss, its views, and what it changes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from recsys.config import EncoderOptions
from recsys.content.contrast import ContrastSettings, contrast, nt_xent
from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.content.image import simclr
from recsys.content.image.augment import alter, crop, recolour
from recsys.errors import DataError, TrainingDiverged


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_loss(first: Tensor, second: Tensor, temperature: float) -> float:
    """Equation 1 of the paper, pair by pair."""
    views = [view / view.norm() for view in (*first, *second)]
    n, total = len(first), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = sum(
            float(torch.exp(views[i] @ views[k] / temperature)) for k in range(2 * n) if k != i
        )
        total -= float(torch.log(torch.exp(views[i] @ views[j] / temperature) / others))
    return total / (2 * n)


@pytest.mark.parametrize(("n", "temperature"), [(1, 0.5), (2, 0.1), (7, 0.5)])
def test_the_loss_equals_a_plain_loop(n: int, temperature: float) -> None:
    first, second = torch.randn(2, n, 5, dtype=torch.float64, generator=seeded(n))
    got = float(nt_xent(first, second, temperature))
    assert got == pytest.approx(plain_loss(first, second, temperature), abs=1e-5)
    assert float(nt_xent(3 * first, second / 2, temperature)) == pytest.approx(got, abs=1e-5)


def test_the_loss_is_least_where_views_agree_and_inputs_differ() -> None:
    apart = torch.eye(4)
    agree, wrong = nt_xent(apart, apart, 0.1), nt_xent(apart, apart.roll(1, 0), 0.1)
    alike = nt_xent(torch.ones(4, 4), torch.ones(4, 4), 0.1)
    assert agree < 0.01 < alike < wrong
    assert float(alike) == pytest.approx(np.log(7), abs=1e-5)  # one of the 7 others


def blobs(n: int, side: int, seed: int) -> Tensor:
    """Images ``(n, side, side, 3)`` uint8, each of its own colours."""
    small = torch.rand(n, 3, 4, 4, generator=seeded(seed))
    large = nn.functional.interpolate(small, size=side, mode="bicubic").clamp(0, 1)
    return (255 * large).byte().permute(0, 2, 3, 1).contiguous()


def test_views_are_images_seeded_and_each_its_own() -> None:
    one = blobs(1, 24, 0).expand(50, -1, -1, -1)
    views = alter(one, 16, seeded(1))
    assert views.shape == (50, 3, 16, 16) and views.min() >= 0 and views.max() <= 1
    torch.testing.assert_close(views, alter(one, 16, seeded(1)), rtol=0, atol=0)
    assert (views[0] - views[1:]).abs().amax(dim=(1, 2, 3)).min() > 0.01
    greys = (views.amax(dim=1) - views.amin(dim=1)).amax(dim=(1, 2)) < 1e-4
    assert 0 < int(greys.sum()) < 25


def test_crops_show_parts_of_the_image() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    image = torch.stack([x, y, torch.zeros_like(x)]).expand(400, -1, -1, -1)
    views = crop(image, 16, seeded(2))
    across = (views[:, 0, :, -1] - views[:, 0, :, 0]).mean(dim=1) * 16 / 15
    down = (views[:, 1, -1] - views[:, 1, 0]).mean(dim=1) * 16 / 15
    area = across.abs() * down
    assert 0.18 < float(area.min()) < 0.3 and 0.8 < float(area.max()) <= 1.05
    assert 0.4 < float((across < 0).float().mean()) < 0.6 and bool((down > 0).all())
    assert views.min() >= -1e-6 and views.max() <= 1 + 1e-6


def test_colours_change_as_named(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(20, 3, 5, 5, generator=seeded(3)) / 10 + 0.4  # nothing is cut off
    module = "recsys.content.image.augment."
    monkeypatch.setattr(module + "P_GREY", 0.0)
    monkeypatch.setattr(module + "P_JITTER", 0.0)
    torch.testing.assert_close(recolour(image, seeded(0)), image)  # nobody is drawn
    monkeypatch.setattr(module + "P_JITTER", 1.1)
    monkeypatch.setattr(module + "JITTER", 0.0)
    monkeypatch.setattr(module + "HUE", 1 / 3)  # at most from red to green
    turned = recolour(image, seeded(0))
    torch.testing.assert_close(turned.mean(dim=1), image.mean(dim=1))  # the grey axis stays
    monkeypatch.setattr(module + "HUE", 0.0)
    monkeypatch.setattr(module + "P_GREY", 1.1)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    grey = (image * luma).sum(dim=1, keepdim=True).expand_as(image)
    torch.testing.assert_close(recolour(image, seeded(0)), grey)


class Tiny(nn.Module):
    """Three convolutions and the mean: 32 features."""

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv2d(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU()]
        second = [nn.Conv2d(32, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU()]
        self.layers = nn.Sequential(*first, *second, nn.Conv2d(32, 32, 3))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images).mean(dim=(2, 3))
        return features


def tiny(seed: int) -> Tiny:
    torch.manual_seed(seed)
    return Tiny()


def views_of(images: Tensor, random: torch.Generator) -> Tensor:
    return alter(images, 16, random) - 0.5


def found_again(network: nn.Module, images: Tensor) -> tuple[float, float]:
    """Share of altered images whose original is nearest; their cosine above that of others."""
    with torch.no_grad():
        plain = network.eval()(images.permute(0, 3, 1, 2) / 255 - 0.5)
        altered = network(views_of(images, seeded(99)))
    plain, altered = (part - plain.mean(dim=0) for part in (plain, altered))
    cosines = nn.functional.normalize(altered) @ nn.functional.normalize(plain).T
    own = cosines.diagonal().mean() - cosines.mean()
    return float((cosines.argmax(dim=1) == torch.arange(len(images))).float().mean()), float(own)


def test_learning_brings_altered_copies_nearer_on_images_never_seen() -> None:
    network, seen, unseen = tiny(0), blobs(256, 16, 4), blobs(300, 16, 5)
    before = found_again(network, unseen)
    settings = ContrastSettings(epochs=40, rate=3e-3)
    losses = contrast(views_of, network.train(), 32, seen, settings)
    after = found_again(network, unseen)
    assert losses[-1] < losses[0] - 0.5
    assert after[0] > before[0] + 0.1 and after[1] > before[1] + 0.2


def test_in_evaluation_mode_batch_norms_keep_their_statistics() -> None:
    network = tiny(0).eval()
    statistics = {name: value.clone() for name, value in network.named_buffers()}
    weights = [value.clone() for value in network.parameters()]
    contrast(views_of, network, 32, blobs(8, 16, 0), ContrastSettings(epochs=1))
    for name, value in network.named_buffers():
        torch.testing.assert_close(value, statistics[name], rtol=0, atol=0)
    pairs = zip(network.parameters(), weights, strict=True)
    assert not network.training and all(bool((new != old).any()) for new, old in pairs)


def test_learning_repeats_and_leaves_the_global_generator_alone() -> None:
    images, settings = blobs(20, 16, 6), ContrastSettings(epochs=2, batch=8, seed=3)
    first, second = tiny(1), tiny(1)
    before = torch.random.get_rng_state()
    assert contrast(views_of, first, 32, images, settings) == contrast(
        views_of, second, 32, images, settings
    )
    torch.testing.assert_close(torch.random.get_rng_state(), before)
    for mine, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


def test_it_learns_of_any_tensors() -> None:
    """Such as log-mel windows ``(n, frames, bands)`` under masks."""

    def masked(windows: Tensor, random: torch.Generator) -> Tensor:
        return windows * (torch.rand(windows.shape, generator=random) > 0.2)

    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 8))
    sounds = torch.randn(30, 10, 6, generator=seeded(0))
    losses = contrast(masked, network, 8, sounds, ContrastSettings(epochs=15, rate=1e-2))
    assert losses[-1] < losses[0] - 0.2


def test_what_cannot_be_learnt_from_is_an_error() -> None:
    with pytest.raises(DataError, match="1 inputs"):
        contrast(views_of, tiny(0), 32, blobs(1, 16, 0), ContrastSettings())
    with pytest.raises(TrainingDiverged, match="nan"):
        contrast(
            lambda some, _: some / 0, nn.Linear(4, 4), 4, torch.zeros(4, 4), ContrastSettings()
        )
    with pytest.raises(DataError, match="0 of 0 files"):
        make_encoder("random:simclr")


def test_the_encoder_is_learnt_once_and_named_by_what_it_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[Path | None] = [None]
    for i, pixels in enumerate(blobs(6, 40, 7).numpy()):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"GIF89a")
    paths.append(tmp_path / "broken.png")
    wanted = Wanted(
        contents=paths, keep=tmp_path / "keep", options=EncoderOptions(epochs=1, seed=3)
    )
    (tmp_path / "keep").mkdir()
    first = make_encoder("random:simclr", wanted)
    encoded = first.encode(paths)
    assert encoded.vectors.shape == (8, 1280) and encoded.present.sum() == 6
    alone = first.encode(paths[3:4]).vectors[0]
    np.testing.assert_allclose(alone, encoded.vectors[3], atol=1e-5)

    def refuse(*_: object) -> None:
        raise AssertionError("learnt twice")

    monkeypatch.setattr(simclr, "_learn", refuse)
    again = make_encoder("random:simclr", wanted)
    assert again.name == first.name and first.name.startswith("random:simclr-efficientnet-lite0@")
    np.testing.assert_array_equal(again.encode(paths).vectors, encoded.vectors)
    with pytest.raises(AssertionError, match="twice"):
        make_encoder("random:simclr", Wanted(contents=paths[1:4], keep=tmp_path / "keep"))
