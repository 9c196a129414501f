"""CLAP, AST and wav2vec2 against the library called in the usual way, on tiny networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from numpy.typing import NDArray

from recsys.config import EncoderOptions
from recsys.content.audio.clap_text import _random
from recsys.content.audio.transformer import LEAST, Family, Prepared, audio_transformer
from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.errors import ConfigError

t: Any = transformers  # half of it has no type hints
FAMILIES: list[Family] = ["clap", "ast", "wav2vec2"]
RATES = {"clap": 48_000, "ast": 16_000, "wav2vec2": 16_000}


def noise(seconds: float, rate: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(int(1_000 * seconds))
    return rng.uniform(-0.5, 0.5, int(seconds * rate)).astype(np.float32)


def tiny(family: Family, fused: bool = False) -> tuple[Any, Any]:
    """A network as it is published, with heads and all, and its preparation."""
    layers: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    torch.manual_seed(1)
    if family == "clap":
        audio: dict[str, Any] = {
            "patch_embeds_hidden_size": 16,
            "hidden_size": 32,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "enable_fusion": fused,
        }
        config = t.ClapConfig(
            audio_config=audio | {"projection_dim": 24},
            text_config=layers | {"projection_dim": 24},
            projection_dim=24,
        )
        how = "fusion" if fused else "rand_trunc"
        return t.ClapModel(config).eval(), t.ClapFeatureExtractor(truncation=how)
    if family == "ast":
        return (
            t.ASTForAudioClassification(t.ASTConfig(**layers)).eval(),
            t.ASTFeatureExtractor(mean=-1.0, std=2.0),  # other than the library's own
        )
    wav = t.Wav2Vec2Config(conv_dim=[16] * 7, **layers)
    return t.Wav2Vec2ForCTC(wav).eval(), t.Wav2Vec2FeatureExtractor()


def saved(family: Family, folder: Path, fused: bool = False) -> tuple[Any, Any]:
    network, extractor = tiny(family, fused)
    network.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return network, extractor


def usual(family: Family, network: Any, extractor: Any, samples: NDArray[np.float32]) -> Any:
    inputs = extractor(samples, sampling_rate=RATES[family], return_tensors="pt")
    with torch.inference_mode():
        if family == "clap":
            return network.get_audio_features(**inputs).pooler_output[0].numpy()
        if family == "ast":
            body = network.audio_spectrogram_transformer
            return body(**inputs).pooler_output[0].numpy()
        return network.wav2vec2(**inputs).last_hidden_state.mean(1)[0].numpy()


@pytest.mark.parametrize(
    ("family", "fused"), [("clap", False), ("clap", True), ("ast", False), ("wav2vec2", False)]
)
def test_vectors_are_those_of_the_library(family: Family, fused: bool, tmp_path: Path) -> None:
    network, extractor = saved(family, tmp_path / "tiny", fused)
    encoder = audio_transformer(family, Wanted(model=str(tmp_path / "tiny")))
    assert encoder.name.startswith(f"{family}:tiny@")
    sounds = [noise(seconds, RATES[family]) for seconds in (0.1, 1.3)]
    paths = [tmp_path / f"{i}.wav" for i in range(len(sounds))]
    for path, samples in zip(paths, sounds, strict=True):
        soundfile.write(path, samples, RATES[family], subtype="FLOAT")
    vectors = encoder.encode(paths).vectors
    expected = np.stack([usual(family, network, extractor, samples) for samples in sounds])
    assert expected.std() > 0.01 and np.abs(expected[0] - expected[1]).max() > 1e-4
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_ones_keep_the_contract(family: Family, tmp_path: Path) -> None:
    rate = 16_000
    paths: list[Path | None] = [None]
    for i, seconds in enumerate((0.011, 0.6, 10.6)):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, noise(seconds, rate), rate)
        paths.append(path)
    encoder = make_encoder(f"random:{family}:tiny")
    vectors, present, reasons, _ = encoder.encode(paths)
    assert vectors.shape == (4, encoder.dim) and np.isfinite(vectors).all()
    assert present.tolist() == [False, True, True, True] and reasons == {0: "missing"}
    alone = np.concatenate([encoder.encode([path]).vectors for path in paths])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert len(np.unique(vectors.round(6), axis=0)) == 4
    assert encoder.name.startswith(f"random:{family}:tiny")


def test_long_sounds_are_the_mean_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    samples = noise(20, 16_000)
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    encoder = make_encoder("random:wav2vec2:tiny")
    halves = []
    for half in np.split(samples, 2):
        soundfile.write(tmp_path / "half.wav", half, 16_000, subtype="FLOAT")
        halves.append(encoder.encode([tmp_path / "half.wav"]).vectors[0])
    np.testing.assert_allclose(encoder.encode([path]).vectors[0], np.mean(halves, 0), atol=1e-5)


def test_what_is_shorter_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, noise(0.012, 16_000), 16_000)
    views = Prepared("wav2vec2", None)(path)
    assert views.shape == (1, 160_000)
    assert np.isfinite(views[0, :LEAST]).all() and np.isnan(views[0, LEAST:]).all()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    saved("wav2vec2", tmp_path)
    for family in ("clap", "ast"):
        with pytest.raises(ConfigError, match=r"wav2vec2.*expected"):
            make_encoder(f"{family}:{tmp_path}")
    with pytest.raises(ConfigError, match="mean or max"):
        make_encoder(f"wav2vec2:{tmp_path}", Wanted(options=EncoderOptions(pooling="cls")))
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, noise(0.1, 16_000), 16_000)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match="preprocessor_config"):  # not an unreadable sound
        make_encoder(f"wav2vec2:{tmp_path}").encode([sound])


def test_texts_lie_where_the_library_puts_them(tmp_path: Path) -> None:
    texts = ["a dog barks", "rain on a tin roof, far away thunder", "x", "a dog barks"]
    encoder = make_encoder("random:clap-text:tiny")
    vectors, present, *_ = encoder.encode([*texts, None, "long " * 99])
    assert present.tolist() == [True, True, True, True, False, True]
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(vectors[:4], alone, atol=1e-5)
    assert np.linalg.norm(vectors[present], axis=1) == pytest.approx(1, abs=1e-5)

    torch.manual_seed(1)
    network, tokenizer = _random()
    config = t.ClapConfig(
        text_config=network.config.to_dict(),
        audio_config={"patch_embeds_hidden_size": 16, "hidden_size": 32, "projection_dim": 32}
        | {"depths": [1, 1], "num_attention_heads": [1, 2]},
        projection_dim=32,
    )
    whole = t.ClapModel(config).eval()
    whole.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = whole.get_text_features(**inputs).pooler_output.numpy()
    mine = make_encoder(f"clap-text:{tmp_path / 'tiny'}").encode(texts).vectors
    np.testing.assert_allclose(mine, expected, atol=1e-5)
    assert np.abs(mine - alone).max() > 1e-3  # weights of the file
