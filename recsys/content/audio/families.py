"""The sound encoders by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted

__all__ = ["AUDIO_ENCODERS"]

CLAP = "laion/clap-htsat-unfused"
AST = "MIT/ast-finetuned-audioset-10-10-0.4593"
WAV2VEC2 = "facebook/wav2vec2-base"
POOLED = frozenset({"pooling"})  # of the windows of a sound


def _log_mel(wanted: Wanted) -> Encoder[Path | None]:  # noqa: ARG001  (it has no choices)
    from recsys.content.audio.log_mel import log_mel_encoder

    return log_mel_encoder()


def _vggish(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.mel_nets import vggish_encoder

    return vggish_encoder(wanted)


def _musicnn(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.mel_nets import musicnn_encoder

    return musicnn_encoder(wanted)


def _aisfx(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.mel_nets import aisfx_encoder

    return aisfx_encoder(wanted)


def _clap(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.transformer import audio_transformer

    return audio_transformer("clap", wanted)


def _clap_text(wanted: Wanted) -> Encoder[str | None]:
    from recsys.content.audio.clap_text import clap_text_encoder

    return clap_text_encoder(wanted)


def _ast(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.transformer import audio_transformer

    return audio_transformer("ast", wanted)


def _wav2vec2(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.transformer import audio_transformer

    return audio_transformer("wav2vec2", wanted)


def _simclr(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.audio.simclr import simclr_sound_encoder

    return simclr_sound_encoder(wanted)


def _family(
    usage: str,
    description: str,
    paper: str,
    make: Callable[[Wanted], Encoder[Path | None]],
    *models: Listed,
) -> EncoderFamily:
    """Return a family of pretrained networks for sounds."""
    return EncoderFamily(
        usage=usage,
        modality="audio",
        description=description,
        paper=paper,
        make=make,
        models=models,
        options=POOLED,
        requires=("soundfile",),
        extra="audio",
        has_random=True,
    )


AUDIO_ENCODERS: Mapping[str, EncoderFamily] = {
    "log-mel": EncoderFamily(
        usage="log-mel",
        modality="audio",
        description="mean, spread and change over time of log-mel bands; learns nothing",
        paper="Davis and Mermelstein, 1980",
        make=_log_mel,
        models=(Listed("", 192),),
        requires=("soundfile",),
        extra="audio",
    ),
    "vggish": _family(
        "vggish[:FILE]",
        "VGG on log-mel patches, trained to label videos; any file of its weights",
        "Hershey et al., 2017",
        _vggish,
        Listed("", 128, "vggish"),
    ),
    "musicnn": _family(
        "musicnn[:CORPUS]",
        "CNN for timbre and rhythm, trained to tag music: corpus mtt or msd",
        "Pons and Serra, 2019",
        _musicnn,
        Listed("mtt", 200, "musicnn-mtt"),
        Listed("msd", 200, "musicnn-msd"),
    ),
    "aisfx": _family(
        "aisfx",
        "CNN in the style of PANNs, trained on sound effects",
        "Ma and Lerch, 2022; Kong et al., 2020",
        _aisfx,
        Listed("", 512, "aisfx"),
    ),
    "clap": _family(
        "clap:MODEL",
        "the sound side of CLAP, trained to match sounds with captions",
        "Wu et al., 2023",
        _clap,
        Listed(CLAP, 512, CLAP),
    ),
    "clap-text": EncoderFamily(
        usage="clap-text:MODEL",
        modality="text",
        description="CLAP's text side, in the space of clap:MODEL's sounds",
        paper="Wu et al., 2023",
        make=_clap_text,
        models=(Listed(CLAP, 512, CLAP),),
        has_random=True,
    ),
    "ast": _family(
        "ast:MODEL",
        "audio spectrogram transformer, trained to label sounds",
        "Gong et al., 2021",
        _ast,
        Listed(AST, 768, AST),
    ),
    "wav2vec2": _family(
        "wav2vec2:MODEL",
        "speech transformer on raw samples, mean over time",
        "Baevski et al., 2020",
        _wav2vec2,
        Listed(WAV2VEC2, 768, WAV2VEC2),
    ),
    "simclr-sound": EncoderFamily(
        usage="simclr-sound[:START]",
        modality="audio",
        description="contrastive, on the catalogue's own sounds, no labels",
        paper="Chen et al., 2020; Saeed et al., 2021",
        make=_simclr,
        models=(
            Listed("", 512, "aisfx"),
            Listed("musicnn", 200, "musicnn-mtt"),
            Listed("vggish", 128, "vggish"),
        ),
        options=frozenset({"epochs", "seed"}),
        requires=("soundfile",),
        extra="audio",
        has_random=True,
    ),
}
