"""CLIP and ViT: parity with transformers as it is usually called, on random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recsys.config import EncoderOptions
from recsys.content.family import Wanted
from recsys.content.image.transformer_families import TRANSFORMER_IMAGE_ENCODERS
from recsys.content.image.vit_clip import VIT_POOLINGS, clip_image_encoder, vit_encoder
from recsys.content.random_networks import SIDE, random_network, random_tokenizer
from recsys.content.shared_space import query_encoder
from recsys.content.text.clip_text import clip_text_encoder
from recsys.errors import ConfigError

SIZES = [(40, 30), (32, 32), (7, 50), (200, 100), (1, 1)]
TEXTS = ["dark space opera", "a", "a cat on a mat " * 30, "你好 😀", "Toy Story"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = []
    for width, height in SIZES:
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(folder / f"{width}x{height}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from transformers import CLIPImageProcessor, ViTImageProcessor

    root = tmp_path_factory.mktemp("networks")
    for family in ("clip", "vit"):
        random_network(family).save_pretrained(root / family)
    random_tokenizer("clip").save_pretrained(root / "clip")
    square: Any = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=square).save_pretrained(
        root / "clip"
    )
    ViTImageProcessor(size=square).save_pretrained(root / "vit")
    return {family: root / family for family in ("clip", "vit")}


def loaded(network: Any, folder: Path) -> Any:
    return network.from_pretrained(folder).eval()


def pixels(folder: Path, path: Path) -> Any:
    """What the library's own processor makes of an image, with its Pillow backend."""
    from transformers import AutoImageProcessor

    auto: Any = AutoImageProcessor
    processor = auto.from_pretrained(folder, backend="pil")
    return processor(Image.open(path), return_tensors="pt")["pixel_values"]


def test_parity_of_clip_images(folders: dict[str, Path], images: list[Path]) -> None:
    from transformers import CLIPModel

    network = loaded(CLIPModel, folders["clip"])
    with torch.no_grad():
        features = [
            network.get_image_features(pixels(folders["clip"], path)).pooler_output
            for path in images
        ]
    expected = torch.nn.functional.normalize(torch.cat(features), dim=1).numpy()
    vectors, present, *_ = clip_image_encoder(Wanted(str(folders["clip"]))).encode(images)
    assert present.all()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    random = clip_image_encoder(Wanted("random:tiny"))
    assert random.name == "random:clip:tiny/v1" and random.dim == vectors.shape[1]


def test_parity_of_clip_texts(folders: dict[str, Path]) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    network = loaded(CLIPModel, folders["clip"])
    tokenizer: Any = CLIPTokenizer.from_pretrained(folders["clip"])
    features = []
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=77)
        with torch.no_grad():
            features.append(network.get_text_features(**tokens).pooler_output)
    expected = torch.nn.functional.normalize(torch.cat(features), dim=1).numpy()
    encoder = clip_text_encoder(Wanted(str(folders["clip"])))
    vectors, present, *_ = encoder.encode(TEXTS)
    assert present.all() and encoder.name.startswith("clip-text:clip@")
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    random = clip_text_encoder(Wanted("random:tiny")).encode(TEXTS).vectors
    np.testing.assert_allclose(vectors, random, atol=1e-6)


def test_both_sides_agree_on_what_the_whole_network_says(
    folders: dict[str, Path], images: list[Path]
) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    network = loaded(CLIPModel, folders["clip"])
    tokenizer: Any = CLIPTokenizer.from_pretrained(folders["clip"])
    batch = torch.cat([pixels(folders["clip"], path) for path in images])
    tokens = tokenizer(TEXTS, return_tensors="pt", padding=True, truncation=True, max_length=77)
    with torch.no_grad():
        logits = network(pixel_values=batch, **tokens).logits_per_image.numpy()
    pictures = clip_image_encoder(Wanted(str(folders["clip"]))).encode(images).vectors
    texts = clip_text_encoder(Wanted(str(folders["clip"]))).encode(TEXTS).vectors
    scale = float(network.logit_scale.detach().exp())
    np.testing.assert_allclose(pictures @ texts.T * scale, logits, atol=2e-4)


@pytest.mark.parametrize("pooling", VIT_POOLINGS)
def test_parity_of_vit(pooling: str, folders: dict[str, Path], images: list[Path]) -> None:
    from transformers import ViTModel

    network = loaded(ViTModel, folders["vit"])
    expected = []
    for path in images:
        with torch.no_grad():
            output = network(pixels(folders["vit"], path))
        hidden = output.last_hidden_state[0]
        picked = {"cls": hidden[0], "mean": hidden[1:].mean(0), "pooler": output.pooler_output[0]}
        expected.append(picked[pooling].numpy())
    options = EncoderOptions.model_validate({"pooling": pooling})
    encoder = vit_encoder(Wanted(str(folders["vit"]), options=options))
    vectors, present, *_ = encoder.encode(images)
    assert present.all() and encoder.name.endswith(f"/{pooling}")
    np.testing.assert_allclose(vectors, np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("make", [clip_image_encoder, vit_encoder])
def test_order_batches_broken_files(make: Any, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    cut = images[3].read_bytes()
    (tmp_path / "cut.png").write_bytes(cut[: len(cut) // 2])
    paths = [*images, tmp_path / "text.png", None, *images, tmp_path / "cut.png"]
    vectors, present, reasons, _ = make(Wanted("random:tiny")).encode(paths)
    assert present.tolist() == [*[True] * 5, False, False, *[True] * 5, False]
    assert set(reasons) == {5, 6, 12} and np.isfinite(vectors).all()
    alone = np.concatenate([make(Wanted("random:tiny")).encode([path]).vectors for path in images])
    np.testing.assert_allclose(vectors[:5], alone, atol=1e-5)
    np.testing.assert_allclose(vectors[7:12], alone, atol=1e-5)
    assert len({row.tobytes() for row in alone}) == len(images)


def test_worker_processes_decode_alike_and_without_torch(images: list[Path]) -> None:
    encoder = vit_encoder(Wanted("random:tiny"))
    (streamed,) = encoder.stream([images], workers=1)
    np.testing.assert_array_equal(streamed.vectors, encoder.encode(images).vectors)


@pytest.mark.parametrize("text", ["half \ud83d of it", "👩‍👩‍👧", "x " * 500_000, "\u200b"])
def test_strange_queries(text: str) -> None:
    vectors, present, *_ = clip_text_encoder(Wanted("random:tiny")).encode([text])
    assert present.all() and np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors), 1.0, atol=1e-5)


def test_folders_that_do_not_fit(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds 'vit', expected 'clip'"):
        clip_image_encoder(Wanted(str(folders["vit"])))
    random_network("vit").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"holds no preprocessor_config\.json"):
        vit_encoder(Wanted(str(tmp_path)))
    settings = json.loads((folders["vit"] / "preprocessor_config.json").read_text())
    wrong = settings | {"size": 48}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(wrong))
    with pytest.raises(ConfigError, match=r"makes images of \(48, 48\), the network takes 32 x 32"):
        vit_encoder(Wanted(str(tmp_path)))
    options = EncoderOptions(pooling="sif")
    with pytest.raises(ConfigError, match="pooling = 'sif'"):
        vit_encoder(Wanted("random:tiny", options=options))


def test_preprocessing_is_in_the_name(folders: dict[str, Path], tmp_path: Path) -> None:
    random_network("vit").save_pretrained(tmp_path)
    settings = json.loads((folders["vit"] / "preprocessor_config.json").read_text())
    names = set()
    for resample in (2, 2, 3):
        changed = json.dumps(settings | {"resample": resample})
        (tmp_path / "preprocessor_config.json").write_text(changed)
        names.add(vit_encoder(Wanted(str(tmp_path))).name)
    assert len(names) == 2


def test_vit_without_its_pooler(folders: dict[str, Path], images: list[Path]) -> None:
    from transformers import ViTModel

    network = random_network("vit")
    folder = folders["vit"].parent / "headless"
    ViTModel(network.config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_bytes(
        (folders["vit"] / "preprocessor_config.json").read_bytes()
    )
    assert vit_encoder(Wanted(str(folder))).encode(images).present.all()
    pooler = Wanted(str(folder), options=EncoderOptions(pooling="pooler"))
    with pytest.raises(ConfigError, match="lacks 2 weights"):
        vit_encoder(pooler).encode(images)


def test_families() -> None:
    assert set(TRANSFORMER_IMAGE_ENCODERS) == {"vit", "clip"}
    for prefix, family in TRANSFORMER_IMAGE_ENCODERS.items():
        assert family.usage == f"{prefix}:MODEL" and family.modality == "image"
        assert family.make(Wanted("random:tiny")).name.startswith(f"random:{prefix}:tiny")


def test_the_encoder_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.content import encoders

    monkeypatch.setattr(encoders, "ENCODERS", {**encoders.ENCODERS, **TRANSFORMER_IMAGE_ENCODERS})
    assert query_encoder("clip:openai/clip") == "clip-text:openai/clip"
    assert query_encoder("random:clip:tiny") == "random:clip-text:tiny"
    assert query_encoder("sbert:all-MiniLM-L6-v2") == "sbert:all-MiniLM-L6-v2"
    assert query_encoder("e5") == "e5:query"
    for name in ("vit:google/vit-base-patch16-224", "categories"):
        with pytest.raises(ConfigError, match="no texts beside"):
            query_encoder(name)
