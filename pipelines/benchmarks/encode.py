"""How fast is encoding, from files to stored vectors, against the model alone?

    python pipelines/benchmarks/encode.py [DATA_ROOT] [ITEMS]

For MiniLM on the plots of MovieLens 1M and EfficientNet-Lite0 on its posters, items per second, all
in one run, five rounds in turn, medians:

- model: the model on batches that lie prepared in memory: nothing can be faster,
- stored: what ``recsys embed`` does: reading, preparing, encoding, writing to the store,
- usual: what people write: ``SentenceTransformer.encode``, a loop over files,
- again: the same catalogue a second time, out of the store.

Before that, the peak memory of encoding, vectors mapped from disk, at two sizes of a catalogue.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from sentence_transformers import SentenceTransformer

from recsys.content.encoders import make_encoder
from recsys.content.file_encoder import FileEncoder
from recsys.content.store import VectorStore
from recsys.content.weights.find import find_weights

ROUNDS = 5
BATCH = 64
SIZES = (10_000, 100_000)


def main(data_root: Path, n_items: int) -> None:
    """Measure and print a table."""
    folder = data_root / "ml-1m-mm"
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    plots = [item["plot_omdb"] for item in items if item.get("plot_omdb")][:n_items]
    posters = [folder / item["poster"] for item in items if item.get("poster")][:n_items]
    print("| texts | vectors on disk | peak memory |\n|--:|--:|--:|")
    for n in SIZES:  # first, each in its own process: what its parent used stays counted
        process = multiprocessing.get_context("spawn").Process(target=peak_memory, args=(plots, n))
        process.start()
        process.join()
    print()
    print("| encoder | model alone | stored | of the model | usual way | again |")
    print("|---|--:|--:|--:|--:|--:|")
    show("sbert:all-MiniLM-L6-v2", plots, *of_texts(plots))
    show("efficientnet-lite0", posters, *of_files("efficientnet-lite0", posters))


def peak_memory(plots: list[str], n: int) -> None:
    """Encode ``n`` texts that differ and print a row."""
    texts = [f"{number} {plots[number % len(plots)]}" for number in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "vectors.npy"
        VectorStore(Path(folder)).encode(make_encoder("wordllama"), texts, out=out)
        written = out.stat().st_size / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"| {n:,} | {written:,.0f} MB | {peak:,.0f} MB |", flush=True)


def of_texts(texts: list[str]) -> tuple[Callable[[], object], Callable[[], object]]:
    """The model alone on tokens, and the usual way."""
    model = SentenceTransformer(str(find_weights("all-MiniLM-L6-v2")), device="cpu")
    longest = sorted(texts, key=lambda text: -len(model.tokenizer(text)["input_ids"]))
    batches = [model.preprocess(longest[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    import torch

    def alone() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(batch)

    return alone, lambda: model.encode(texts, show_progress_bar=False)


def of_files(name: str, paths: list[Path]) -> tuple[Callable[[], object], Callable[[], object]]:
    """The model alone on decoded files, and a loop over the files."""
    encoder = make_encoder(name)
    if not isinstance(encoder, FileEncoder):
        raise TypeError(f"{name} reads no files")
    views = np.concatenate([encoder.decode(path) for path in paths])
    model = encoder.model

    def alone() -> None:
        for start in range(0, len(views), 32):
            model.forward(views[start : start + 32])

    def loop() -> None:
        for path in paths:
            model.forward(encoder.decode(path).copy())

    return alone, loop


def show(
    name: str,
    contents: list[str] | list[Path],
    alone: Callable[[], object],
    usual: Callable[[], object],
) -> None:
    """Measure in turn and print a row."""
    seconds: dict[str, list[float]] = {"alone": [], "stored": [], "usual": [], "again": []}
    for _ in range(ROUNDS):
        seconds["alone"].append(timed(alone))
        with tempfile.TemporaryDirectory() as folder:
            encoder = make_encoder(name)
            _ = encoder.dim  # loading the weights is not encoding
            stored = partial(VectorStore(Path(folder)).encode, encoder, contents)
            for key in ("stored", "again"):
                seconds[key].append(timed(stored))
        seconds["usual"].append(timed(usual))
    rate = {key: len(contents) / median(values) for key, values in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["alone"], seconds["stored"], strict=True)]
    print(
        f"| {name} | {rate['alone']:.1f} | {rate['stored']:.1f} | {median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}) | {rate['usual']:.1f} | {rate['again']:,.0f} |"
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 512,
    )
