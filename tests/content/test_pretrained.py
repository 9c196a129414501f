"""Weights in files and folders: known by all that is read of them, refused in one line."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recsys.content.encoders import ENCODERS, make_encoder
from recsys.content.family import Wanted
from recsys.content.image import floors, preprocess, processor
from recsys.content.pretrained import digest_folder
from recsys.content.random_networks import seeded
from recsys.content.text import text_encoder
from recsys.content.weights_file import load_net, named_tensors, read_weights
from recsys.errors import ConfigError


def write(folder: Path, *files: str) -> Path:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "changed", ["model.safetensors", "2_Dense/pytorch_model.bin", "config.json"]
)
def test_a_folder_is_known_by_all_its_weights(changed: str, tmp_path: Path) -> None:
    """A dense layer in the old format lies below a network in the new one."""
    write(tmp_path, "model.safetensors", "2_Dense/pytorch_model.bin", "config.json")
    before = digest_folder(tmp_path)
    (tmp_path / changed).write_text("other", encoding="utf-8")
    assert digest_folder(tmp_path) != before


def test_the_same_weights_in_the_old_format_change_nothing(tmp_path: Path) -> None:
    before = digest_folder(write(tmp_path, "model.safetensors"))
    assert digest_folder(write(tmp_path, "pytorch_model.bin")) == before
    (tmp_path / "model.safetensors").unlink()
    assert digest_folder(tmp_path) != before
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(ConfigError, match="holds no weights"):
        digest_folder(tmp_path)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_damaged_weights_are_read_or_refused_in_one_line(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pth")
    state = seeded(net).state_dict()
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole, dice, refused = path.read_bytes(), random.Random(0), 0  # noqa: S311  (no secret)
    for n in range(400):
        damaged = bytearray(whole)
        for _ in range(1 + n % 6):
            damaged[dice.randrange(900)] = dice.choice([dice.randrange(256), *b"tRbcX.0q()]}uhQKJ"])
        path.write_bytes(damaged if n % 10 else damaged[: dice.randrange(len(damaged))])
        try:
            load_net(net, named_tensors(read_weights(path), path), path, "net")
        except ConfigError as error:
            assert "\n" not in str(error) and path.name in str(error)
            refused += 1
    assert refused > 200


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    state = seeded(net, 3).state_dict()
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "x.pth")
    path = tmp_path / "x.pth"
    loaded = load_net(net, named_tensors(read_weights(path), path), path, "net")
    assert not loaded.training
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    with pytest.raises(ConfigError, match=r"not weights of lines: .*Missing"):
        load_net(lambda: nn.Linear(2, 2), state, path, "lines")
    for other in ([state], {1: torch.zeros(1)}, {"a": 1}):
        with pytest.raises(ConfigError, match="holds no state dict"):
            named_tensors(other, path)


def test_random_numbers_go_on_beside_seeded_ones() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    one, same, other = (seeded(lambda: torch.rand(3), seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.rand(2), expected)


MADE_AT_ONCE = [
    prefix
    for prefix, family in ENCODERS.items()
    if family.has_random and not prefix.startswith("simclr")  # which learns when it is made
]


@pytest.mark.parametrize("prefix", MADE_AT_ONCE)
def test_the_name_says_where_it_computes_less_exactly(prefix: str) -> None:
    """On CUDA neural encoders compute in bf16: their vectors are not those of the CPU."""
    needs_model = ":" in ENCODERS[prefix].usage and "[:" not in ENCODERS[prefix].usage
    name = f"random:{prefix}:tiny" if needs_model else f"random:{prefix}"
    cpu, cuda, second = (
        make_encoder(name, Wanted(device=device)).name for device in ("cpu", "cuda", "cuda:1")
    )
    assert "/bf16" in cuda and cuda.replace("/bf16", "") == cpu and second == cuda


def test_names_have_the_versions_of_what_is_done_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    images = ["hog", "random:resnet50", "random:vit:tiny"]
    texts = ["random:bert:tiny", "random:clap-text:tiny"]
    before = [make_encoder(name).name for name in [*images, *texts]]
    for module in (floors, preprocess, processor):
        monkeypatch.setattr(module, "DECODE_VERSION", 99)
    monkeypatch.setattr(text_encoder, "VERSION", 99)
    after = [make_encoder(name).name for name in [*images, *texts]]
    assert all("v99" in name for name in after)
    assert [name.replace("v99", "v1") for name in after] == before
