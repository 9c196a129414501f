"""What generated contents show is known: their vectors must tell that, and no more."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recsys.config import SyntheticConfig
from recsys.content.encoders import make_encoder
from recsys.data.synthetic import MODALITIES, generate

ITEMS = 400
ENCODERS = {"text": "sbert:all-MiniLM-L6-v2", "image": "efficientnet-lite0", "sound": "log-mel"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate(SyntheticConfig(users=5, items=ITEMS, per_user=3), folder)
    return folder


def explained(vectors: NDArray[np.float32], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """R2 of ridge regression for each number, on items that it was not fitted on."""
    ridge = RidgeCV(np.logspace(0, 6, 13), alpha_per_target=True)
    predicted = cross_val_predict(make_pipeline(StandardScaler(), ridge), vectors, numbers, cv=5)
    errors = np.square(numbers - predicted).sum(axis=0)
    return np.asarray(1 - errors / np.square(numbers - numbers.mean(axis=0)).sum(axis=0))


@pytest.mark.parametrize("modality", MODALITIES)
def test_vectors_tell_what_their_content_shows_and_no_more(folder: Path, modality: str) -> None:
    items = pd.read_csv(folder / "items.csv")
    cells = items[modality].tolist()
    contents = cells if modality == "text" else [folder / cell for cell in cells]
    encoded = make_encoder(ENCODERS[modality]).encode(contents)
    assert encoded.present.all()
    scores = explained(encoded.vectors, np.load(folder / "item_tastes.npy"))
    shown_by = json.loads((folder / "truth.json").read_text())["shown_by"]
    for other in MODALITIES:
        if other == modality:
            assert scores[shown_by[other]].min() >= 0.6, scores
        else:
            assert scores[shown_by[other]].max() < 0.1, scores
    print(f"\nR2 of {modality}: {scores.round(3).tolist()}")  # noqa: T201
