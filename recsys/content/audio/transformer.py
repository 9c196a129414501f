"""CLAP, AST and wav2vec2, each with the library's own preparation of the samples.

Of sounds longer than a network reads at once (about ten seconds), windows are spaced evenly from
start to end, and their vectors pooled. Shorter ones are prepared as the library does it: CLAP
repeats them, AST pads them, wav2vec2 reads them as they are.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsys.content.audio.decode import read_sound
from recsys.content.audio.mel import windows
from recsys.content.audio.naming import encoder_name, window_pooling
from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.content.pretrained import (
    check_architecture,
    digest_folder,
    load_pretrained,
    precision,
    quiet_loading,
)
from recsys.content.random_networks import RANDOM, is_random, seeded
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError

__all__ = ["Family", "Prepared", "audio_transformer"]

Family = Literal["clap", "ast", "wav2vec2"]
Network = Any  # of transformers
Settings = dict[str, Any]
Vectors = NDArray[np.float32]

ARCHITECTURES = {"clap": "clap", "ast": "audio-spectrogram-transformer", "wav2vec2": "wav2vec2"}
SECONDS = 10  # of a window for wav2vec2, which has no limit but memory
LEAST = 400  # samples (25 ms at 16 kHz) that it takes for one frame
BATCH, AHEAD = 8, 8  # windows are large, ten minutes are 60 of them


def audio_transformer(family: Family, wanted: Wanted) -> FileEncoder:
    """Find a network for sounds, and load it when the first file is encoded.

    Args:
        family: ``clap`` makes unit vectors in the space of ``clap-text`` with the same model;
            ``ast`` the mean of its two class tokens; ``wav2vec2`` the mean of its last layer over
            time.
        wanted: its model is listed, a folder or a name on the hub, or begins with ``"random:"``.

    Raises:
        ConfigError: there is no such model, or it is another network.
    """
    pooling = window_pooling(wanted)
    folder = None if is_random(wanted.model) else find_weights(wanted.model)
    if folder is None:
        name, weights = f"{RANDOM}{family}:tiny", "seed-0"
    else:
        check_architecture(folder, ARCHITECTURES[family])
        name, weights = f"{family}:{Path(wanted.model).name}", digest_folder(folder)
    decode = Prepared(family, folder)
    return FileEncoder(
        encoder_name(name, weights, decode, pooling) + precision(wanted.device),
        decode,
        lambda: _model(family, _load(family, folder).to(wanted.device)),
        batch=BATCH,
        ahead=AHEAD,
        pooling=pooling,
    )


@dataclass(frozen=True)
class Prepared:
    """A decoder: windows of a file as a network takes them.

    For ``clap`` (v, 1 or 4, frames, bands), for ``ast`` (v, frames, bands), for ``wav2vec2``
    samples (v, n) of zero mean and unit variance, followed by NaN where the sound is shorter.

    Attributes:
        family: of the network.
        folder: that has the settings of the preparation, among the weights; None: the library's.
    """

    family: Family
    folder: Path | None = field(repr=False)  # its content is in the digest of the weights
    version: int = 1

    def __call__(self, path: Path) -> Vectors:
        """Return the windows of a file.

        Raises:
            Unreadable: see `read_sound`.
            ConfigError: the folder has no such settings.
        """
        extractor = _extractor(self.family, self.folder)
        rate, length = extractor.sampling_rate, _window(self.family, extractor)
        samples = read_sound(path, rate)
        samples = np.pad(samples, (0, max(0, LEAST - len(samples))))
        parts = windows(samples, min(len(samples), length), length)
        prepared = [extractor(part, sampling_rate=rate, return_tensors="np") for part in parts]
        views = np.concatenate([batch[extractor.model_input_names[0]] for batch in prepared])
        if self.family == "wav2vec2":
            missing = length - views.shape[1]
            views = np.pad(views, ((0, 0), (0, missing)), constant_values=np.nan)
        return views.astype(np.float32)


@lru_cache(maxsize=2)
def _extractor(family: Family, folder: Path | None) -> Any:
    """Return the library's preparation, once a process.

    Raises:
        ConfigError: the folder has no settings of it.
    """
    import transformers as t

    kinds: dict[Family, Any] = {
        "clap": t.ClapFeatureExtractor,
        "ast": t.ASTFeatureExtractor,
        "wav2vec2": t.Wav2Vec2FeatureExtractor,
    }
    with quiet_loading(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter")  # AST's own setting
        if folder is None:
            return kinds[family](truncation="rand_trunc") if family == "clap" else kinds[family]()
        try:
            return kinds[family].from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            said = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{folder}: no readable preprocessor_config.json: {said}") from None


def _window(family: Family, extractor: Any) -> int:
    """Return how many samples the network reads at once."""
    if family == "clap":
        return int(extractor.nb_max_samples)
    if family == "ast":  # frames of 25 ms every 10 ms
        return int(extractor.sampling_rate * (0.025 + 0.010 * (extractor.max_length - 1)))
    return int(SECONDS * extractor.sampling_rate)


def _load(family: Family, folder: Path | None) -> Network:
    """Return the network of a folder; None makes a tiny random one."""
    import transformers as t

    if folder is None:
        return _random(family)
    if family == "clap":
        return load_pretrained(t.ClapAudioModelWithProjection, folder)
    if family == "ast":
        return load_pretrained(t.ASTModel, folder)
    return load_pretrained(t.Wav2Vec2Model, folder, ("masked_spec_embed",))  # for training alone


def _random(family: Family) -> Network:
    """Return a tiny network with seeded random weights, in eval mode."""
    import transformers as t

    layers: Settings = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    layers["num_hidden_layers"] = 2
    stages: Settings = {"depths": [1, 1], "num_attention_heads": [1, 2], "hidden_size": 32}
    networks: dict[Family, tuple[Any, Any]] = {
        "clap": (
            t.ClapAudioModelWithProjection,
            t.ClapAudioConfig(patch_embeds_hidden_size=16, projection_dim=32, **stages),
        ),
        "ast": (t.ASTModel, t.ASTConfig(**layers)),
        "wav2vec2": (t.Wav2Vec2Model, t.Wav2Vec2Config(conv_dim=[16] * 7, **layers)),
    }
    network, config = networks[family]
    return seeded(lambda: network(config)).eval()


def _model(family: Family, network: Network) -> Model:
    import torch

    from recsys.device import autocast, to_device

    pool: Callable[[Network, Any], Any] = {"clap": _clap, "ast": _ast, "wav2vec2": _wav2vec2}[
        family
    ]
    width = network.config.projection_dim if family == "clap" else network.config.hidden_size

    def forward(views: Vectors) -> Vectors:
        with torch.inference_mode(), autocast(network.device):
            vectors = pool(network, to_device(views, network.device)).float()
        numbers: Vectors = vectors.cpu().numpy()
        return numbers

    return Model(int(width), forward)


def _clap(network: Network, spectrograms: Any) -> Any:
    """Return unit vectors; a network that fuses views takes four, here all the same."""
    from torch.nn import functional as F

    fuses = spectrograms.new_full((len(spectrograms), 1), network.config.enable_fusion).bool()
    embeds = network(input_features=spectrograms, is_longer=fuses).audio_embeds
    return F.normalize(embeds.float(), dim=-1)


def _ast(network: Network, spectrograms: Any) -> Any:
    return network(input_values=spectrograms).pooler_output


def _wav2vec2(network: Network, samples: Any) -> Any:
    """Return means over time; sounds of one length together, so that nothing is padded.

    The first layer of many of these networks normalises over time, so silence behind a sound would
    change its vector, whatever is masked later.
    """
    lengths = samples.isfinite().sum(dim=1)
    vectors = samples.new_empty(len(samples), network.config.hidden_size)
    for length in lengths.unique().tolist():
        rows = lengths == length
        hidden = network(input_values=samples[rows, :length]).last_hidden_state
        vectors[rows] = hidden.float().mean(dim=1)
    return vectors
