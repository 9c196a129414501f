import json
import re
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict

from recsys.config import SyntheticConfig
from recsys.data.synthetic import THEMES, generate
from recsys.errors import ConfigError
from recsys.files import digest_files

SMALL = SyntheticConfig(users=30, items=24, per_user=6, tastes=5, seed=3)
MODALITIES = ("text", "image", "sound")

Array = NDArray[np.float64]


def make(folder: Path, config: SyntheticConfig) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    generate(config, folder)
    truth = json.loads((folder / "truth.json").read_text())
    return pd.read_csv(folder / "interactions.csv"), pd.read_csv(folder / "items.csv"), truth


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    generate(SMALL, folder)
    return folder


def test_the_log(small: Path) -> None:
    log = pd.read_csv(small / "interactions.csv")
    assert list(log.columns) == ["user_id", "item_id", "time"]
    assert log.user_id.value_counts().tolist() == [6] * 30
    assert set(log.user_id) == {f"u{n:04}" for n in range(1, 31)}
    assert set(log.item_id) <= {f"i{n:04}" for n in range(1, 25)}
    assert not log.duplicated(["user_id", "item_id"]).any()
    assert log.time.is_monotonic_increasing
    times = log.groupby("user_id").time
    assert (times.diff().dropna() > 0).all()
    hours = (times.max() - times.min()).mean() / 3600
    assert 20 < hours < 40  # five gaps of six hours


def test_the_catalogue(small: Path) -> None:
    items = pd.read_csv(small / "items.csv")
    assert items.item_id.tolist() == [f"i{n:04}" for n in range(1, 25)]
    assert items.text.str.fullmatch(r"[a-z]+( [a-z]+)*").all()
    for path in items.image:
        with Image.open(small / path) as image:
            assert image.format == "PNG" and image.size == (48, 48) and image.mode == "RGB"
    for path in items.sound:
        with wave.open(str(small / path)) as sound:
            assert (sound.getframerate(), sound.getnframes(), sound.getnchannels()) == (
                8000,
                4000,
                1,
            )
            samples = np.frombuffer(sound.readframes(4000), "<i2")
            assert 500 < np.abs(samples.astype(int)).max() < 32_700  # to be heard, not clipped


def test_the_truth(small: Path) -> None:
    truth = json.loads((small / "truth.json").read_text())
    assert truth["generated"] is True
    assert truth["shown_by"] == {"text": [0, 1, 2], "image": [3], "sound": [4]}
    assert SyntheticConfig(**truth["config"]) == SMALL
    items, users = np.load(small / "item_tastes.npy"), np.load(small / "user_tastes.npy")
    assert items.shape == (24, 5) and users.shape == (30, 5)
    np.testing.assert_allclose((items[:, :3] ** 2).sum(axis=1), 3)  # directions of one length
    np.testing.assert_allclose(items[:, 3:] ** 2, 1)


def test_the_same_config_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    generate(SMALL, tmp_path / "again")
    generate(SMALL.model_copy(update={"seed": 4}), tmp_path / "other")
    same, other = digest_files(small), digest_files(tmp_path / "other")
    assert digest_files(tmp_path / "again") == same
    assert same.keys() == other.keys() and len(same) == 5 + 2 * 24
    assert not set(same.values()) & set(other.values())


@pytest.mark.parametrize(
    ("carrier", "tastes", "shown"),
    [
        ("text", 8, (6, 1, 1)),
        ("image", 8, (1, 6, 1)),
        ("sound", 4, (1, 1, 2)),
        ("text", 2, (1, 1, 0)),
        ("sound", 2, (1, 0, 1)),
    ],
)
def test_the_carrier_shows_most(
    tmp_path: Path, carrier: Any, tastes: int, shown: tuple[int, int, int]
) -> None:
    config = SyntheticConfig(users=3, items=9, per_user=3, tastes=tastes, carrier=carrier)
    _, _, truth = make(tmp_path, config)
    parts = [truth["shown_by"][name] for name in MODALITIES]
    assert tuple(map(len, parts)) == shown
    assert [number for part in parts for number in part] == list(range(tastes))


def test_users_take_what_they_like(tmp_path: Path) -> None:
    config = SyntheticConfig(users=100, items=150, per_user=10)
    log, items, _ = make(tmp_path, config)
    liking = np.load(tmp_path / "user_tastes.npy") @ np.load(tmp_path / "item_tastes.npy").T
    users = log.user_id.str[1:].astype(int).to_numpy() - 1
    numbers = pd.Index(items.item_id).get_indexer(pd.Index(log.item_id))
    ranks = liking.argsort(axis=1).argsort(axis=1) / (len(items) - 1)  # 1: liked best of all
    assert ranks[users, numbers].mean() > 0.8  # 0.5 if taste did not matter
    early = log.groupby("user_id").cumcount().to_numpy() < 5
    taken = liking[users, numbers]
    assert abs(taken[early].mean() - taken[~early].mean()) < 0.1 * liking.std()  # in no order


def test_noise_hides_taste(tmp_path: Path) -> None:
    means = []
    for noise in (0.0, 3.0):
        config = SyntheticConfig(users=100, items=150, per_user=10, noise=noise)
        log, items, _ = make(tmp_path / str(noise), config)
        folder = tmp_path / str(noise)
        liking = np.load(folder / "user_tastes.npy") @ np.load(folder / "item_tastes.npy").T
        users = log.user_id.str[1:].astype(int).to_numpy() - 1
        means.append(liking[users, pd.Index(items.item_id).get_indexer(log.item_id)].mean())
    assert means[0] > 1.5 * means[1]


def shown_share(features: Array, tastes: Array) -> Array:
    """How much of each taste ``(tastes,)`` a linear model reads out of features ``(n, f)``: R2."""
    features = (features - features.mean(axis=0)) / features.std()
    error = cross_val_predict(Ridge(30.0), features, tastes, cv=3) - tastes
    return np.asarray(
        1 - (error**2).sum(axis=0) / ((tastes - tastes.mean(axis=0)) ** 2).sum(axis=0)
    )


def word_counts(texts: pd.Series) -> Array:
    words = [word for pair in THEMES for theme in pair for word in theme.split()]
    return np.array([[text.split().count(word) for word in words] for text in texts], dtype=float)


def pixels(paths: list[Path]) -> Array:
    return np.array([np.asarray(Image.open(path).resize((12, 12))).ravel() / 255 for path in paths])


def spectra(paths: list[Path]) -> Array:
    rows = []
    for path in paths:
        with wave.open(str(path)) as sound:
            samples = np.frombuffer(sound.readframes(4000), "<i2").astype(float)
        bands = (
            np.abs(np.fft.rfft(samples.reshape(16, 250)))[:, :100].reshape(16, 25, 4).sum(axis=2)
        )
        rows.append(np.log1p(bands).ravel())
    return np.array(rows)


@pytest.mark.parametrize("carrier", MODALITIES)
def test_each_content_shows_its_own_part_and_no_other(tmp_path: Path, carrier: Any) -> None:
    _, items, truth = make(
        tmp_path, SyntheticConfig(users=2, items=300, per_user=2, carrier=carrier)
    )
    tastes = np.load(tmp_path / "item_tastes.npy")
    features = {
        "text": word_counts(items.text),
        "image": pixels([tmp_path / path for path in items.image]),
        "sound": spectra([tmp_path / path for path in items.sound]),
    }
    for name in MODALITIES:
        share = shown_share(features[name], tastes)
        own = np.isin(np.arange(8), truth["shown_by"][name])
        assert share[own].min() > 0.45, name
        assert share[~own].max() < 0.1, name


def test_themes_have_no_word_in_common() -> None:
    words = [word for pair in THEMES for theme in pair for word in theme.split()]
    assert len(set(words)) == len(words) == 12 * 2 * len(THEMES)


def test_many_items_have_longer_ids(tmp_path: Path) -> None:
    config = SyntheticConfig(users=10_001, items=6, per_user=2)
    log, _, _ = make(tmp_path, config)
    assert {len(user) for user in log.user_id} == {6} and log.user_id.nunique() == 10_001
    assert not [user for user in log.user_id if not re.fullmatch(r"u\d{5}", user)]


def test_fast_enough(tmp_path: Path) -> None:
    started = time.process_time()
    generate(SyntheticConfig(), tmp_path)
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SyntheticConfig(tastes=9), "tastes = 9: contents show at most 8"),
        (SyntheticConfig(items=30, per_user=11), "at most a third of the 30 items"),
    ],
)
def test_what_cannot_be_generated(tmp_path: Path, config: SyntheticConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(config, tmp_path)
    assert not list(tmp_path.iterdir())
