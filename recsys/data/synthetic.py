"""A log from known tastes: what each kind of content is worth is decided here, beforehand.

The taste of an item, or of a user, is a vector of ``tastes`` numbers in three parts, one for each
kind of content. The ``carrier`` shows all numbers but two, the other two kinds one each: of 8 with
carrier "text", the text shows 0 to 5, the image 6, the sound 7; none shows anything of another's.
Each part is a random direction of length ``sqrt(width)``: numbers have variance 1, and it matters
what an item is like, not how much of it. What users see in it is what its contents show plus a
normal number of standard deviation ``noise`` that nothing shows. A user takes items, in random
order, with odds that grow with the inner product of both tastes; so each part decides in proportion
to its width: of 8, the carrier makes up three quarters, the others an eighth each.

- text: words drawn from themes; each number has a theme for its high and one for its low values.
- image: a disc; its numbers are colour, size, ground, stripes, place across and place upwards.
- sound: a chord; its numbers are a low, a middle and a high tone, hiss, fading and tremolo.

All of it is generated, and is to be called so wherever it is shown.
"""

import csv
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import ndtr

from recsys.config import SyntheticConfig
from recsys.errors import ConfigError
from recsys.files import write_json

__all__ = ["THEMES", "generate"]

Numbers = NDArray[np.float64]

TASTE_STRENGTH = 4.0  # standard deviation of the log-odds that taste gives an item
FIRST_TIME = 1_700_000_000  # seconds since 1970
MONTH, MEAN_GAP = 30 * 86_400, 6 * 3_600  # seconds: users start within the one, then the other
BLOCK = 1_024  # users whose log-odds for all items are held at once

WORDS = 40  # of each text
WORD_STRENGTH = 1.6  # how strongly a number decides the theme of each word
PIXELS = 48  # width and height of an image
RATE, SECONDS = 8_000, 0.5  # samples a second, and how long a sound is
TONES, TREMOLO = (220.0, 700.0, 2_200.0), 8.0  # Hz

# For each number the words of its high and of its low values, far from each other in meaning, so
# that whoever knows English tells them apart.
THEMES = (
    (
        "planet rocket galaxy astronaut orbit telescope comet alien starship satellite nebula moon",
        "kitchen recipe bakery chef flavour pastry spice dinner oven soup butter sugar",
    ),
    (
        "war soldier battle army tank bomb trench invasion weapon general combat siege",
        "wedding romance kiss bride love heart flirt honeymoon darling tender couple valentine",
    ),
    (
        "football stadium league coach tournament referee athlete sprint medal team goal champion",
        "violin orchestra symphony opera piano composer concert melody choir sonata waltz cello",
    ),
    (
        "forest river meadow wolf deer bird wilderness mountain oak wildlife valley leaf",
        "computer software hacker internet robot keyboard algorithm network code web pixel byte",
    ),
    (
        "ghost vampire haunted curse zombie graveyard monster demon witch nightmare coffin terror",
        "bank money stock investor profit market loan tax broker merger accountant salary",
    ),
    (
        "doctor hospital surgeon nurse patient disease vaccine medicine clinic diagnosis ward pill",
        "pirate ship sailor ocean island treasure harbour captain anchor storm sail voyage",
    ),
)
MODALITIES = ("text", "image", "sound")
MOST_TASTES = len(THEMES) + 2


def generate(config: SyntheticConfig, folder: Path) -> None:
    """Write a log, a catalogue with its contents, and the truth; the same config, the same bytes.

    ``interactions.csv`` (user_id, item_id, time in seconds), ``items.csv`` (item_id, text, and the
    paths of image and sound relative to ``folder``), ``images/*.png``, ``sounds/*.wav``;
    ``truth.json`` (which numbers each content shows), ``user_tastes.npy`` ``(users, tastes)`` and
    ``item_tastes.npy`` ``(items, tastes)``, rows in the order of the ids u0001.. and i0001..

    Raises:
        ConfigError: more tastes than contents can show, or too few items for so many interactions.
    """
    if config.tastes > MOST_TASTES:
        raise ConfigError(
            f"[data.synthetic] tastes = {config.tastes}: contents show at most {MOST_TASTES}"
        )
    if 3 * config.per_user > config.items:
        raise ConfigError(
            f"[data.synthetic] per_user = {config.per_user}: at most a third of the "
            f"{config.items} items"
        )
    people, things, choice, times, *contents = np.random.default_rng(config.seed).spawn(7)
    shown_by = _shown_by(config.tastes, config.carrier)
    users = _tastes(config.users, shown_by, people)
    items = _tastes(config.items, shown_by, things)
    hidden = config.noise * things.standard_normal(items.shape)
    folder.mkdir(parents=True, exist_ok=True)
    item_ids = _ids("i", config.items)
    chosen = _choose(users, items + hidden, config.per_user, choice)
    _write_log(folder, chosen, _ids("u", config.users), item_ids, times)
    text, image, sound = (items[:, numbers] for numbers in shown_by)
    _write_catalogue(folder, item_ids, _texts(text, contents[0]))
    _write_images(folder, item_ids, _dials(image, contents[1]))
    _write_sounds(folder, item_ids, _dials(sound, contents[2]), contents[2])
    np.save(folder / "user_tastes.npy", users)
    np.save(folder / "item_tastes.npy", items)
    shown = {name: numbers.tolist() for name, numbers in zip(MODALITIES, shown_by, strict=True)}
    truth = {"generated": True, "config": config.model_dump(), "shown_by": shown}
    write_json(folder / "truth.json", truth)


def _shown_by(tastes: int, carrier: str) -> list[NDArray[np.int64]]:
    """Which numbers text, image and sound show: all but two the carrier, one each the others."""
    widths = dict.fromkeys(MODALITIES, 0)
    widths[carrier] = max(1, tastes - 2)
    for name in MODALITIES:
        if name != carrier and sum(widths.values()) < tastes:
            widths[name] = 1
    return np.split(np.arange(tastes), np.cumsum(list(widths.values()))[:-1])


def _tastes(n: int, parts: list[NDArray[np.int64]], rng: np.random.Generator) -> Numbers:
    """Draw tastes ``(n, tastes)``: each part a random direction of length sqrt(width)."""
    drawn = [rng.standard_normal((n, len(part))) for part in parts if len(part)]
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in drawn]
    scaled = [part / r * np.sqrt(part.shape[1]) for part, r in zip(drawn, lengths, strict=True)]
    return np.concatenate(scaled, axis=1)


def _ids(letter: str, n: int) -> list[str]:
    """``n`` ids of one length: u0001, u0002, .."""
    width = max(4, len(str(n)))
    return [f"{letter}{number:0{width}}" for number in range(1, n + 1)]


def _choose(users: Numbers, items: Numbers, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the items that each user takes, oldest first, ``(n_users, k)``, all different.

    Adding Gumbel noise to log-odds and keeping the largest draws without replacement in proportion
    to the odds (Vieira, 2014).
    """
    scale = TASTE_STRENGTH / np.sqrt(users.shape[1])
    chosen = []
    for start in range(0, len(users), BLOCK):
        log_odds = scale * users[start : start + BLOCK] @ items.T
        noisy = log_odds + rng.gumbel(size=log_odds.shape)
        chosen.append(np.argsort(-noisy, axis=1, kind="stable")[:, :k])
    # The favourites are not taken first: a test on the last ones is as hard as on any.
    return rng.permuted(np.concatenate(chosen), axis=1)


def _write_log(
    folder: Path,
    chosen: NDArray[np.int64],
    user_ids: list[str],
    item_ids: list[str],
    rng: np.random.Generator,
) -> None:
    """Write what each user took, ``(n_users, k)`` oldest first, all in the order of the times."""
    starts = rng.integers(MONTH, size=(len(chosen), 1))
    gaps = 1 + rng.exponential(MEAN_GAP, size=chosen.shape).astype(np.int64)
    times = (FIRST_TIME + starts + np.cumsum(gaps, axis=1)).ravel()
    users = np.repeat(np.arange(len(chosen)), chosen.shape[1])
    items = chosen.ravel()
    rows = (
        (user_ids[users[row]], item_ids[items[row]], times[row])
        for row in np.lexsort((users, times))
    )
    _write_csv(folder / "interactions.csv", ("user_id", "item_id", "time"), rows)


def _write_catalogue(folder: Path, item_ids: list[str], texts: list[str]) -> None:
    """Write the items with their texts and the names of their files."""
    rows = (
        (item, text, f"images/{item}.png", f"sounds/{item}.wav")
        for item, text in zip(item_ids, texts, strict=True)
    )
    _write_csv(folder / "items.csv", ("item_id", "text", "image", "sound"), rows)


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _texts(shown: Numbers, rng: np.random.Generator) -> list[str]:
    """Draw a text for each row of numbers ``(n_items, t)``: words of its strongest themes."""
    words = np.array([theme.split() for pair in THEMES[: shown.shape[1]] for theme in pair])
    log_odds = WORD_STRENGTH * np.stack([shown, -shown], axis=2).reshape(len(shown), 1, -1)
    noisy = log_odds + rng.gumbel(size=(len(shown), WORDS, len(words)))
    themes = noisy.argmax(axis=2)  # of each word
    drawn = words[themes, rng.integers(words.shape[1], size=themes.shape)]
    return [" ".join(row) for row in drawn]


def _dials(shown: Numbers, rng: np.random.Generator) -> Numbers:
    """Turn numbers ``(n, t)`` into settings in (0, 1), ``(n, 6)``; what shows none is random."""
    dials = rng.uniform(size=(len(shown), len(THEMES)))
    dials[:, : shown.shape[1]] = ndtr(shown)
    return dials


def _write_images(folder: Path, item_ids: list[str], dials: Numbers) -> None:
    """Draw a disc for each item: its colour, size, ground, stripes and place."""
    (folder / "images").mkdir(exist_ok=True)
    down, across = np.mgrid[-1 : 1 : PIXELS * 1j, -1 : 1 : PIXELS * 1j]
    for item, dial in zip(item_ids, dials, strict=True):
        colour, size, ground, stripes, right, up = dial
        x, y = across - (right - 0.5), down + (up - 0.5)
        inside = np.hypot(x, y) < 0.2 + 0.5 * size
        figure = np.array([colour, 0.3, 1 - colour])  # from blue to red
        figure = figure * (1 - 0.6 * stripes * (np.sin(20 * across) > 0))[..., None]
        pixels = np.where(inside[..., None], figure, 0.15 + 0.7 * ground)
        Image.fromarray((255 * pixels).astype(np.uint8)).save(folder / "images" / f"{item}.png")


def _write_sounds(
    folder: Path, item_ids: list[str], dials: Numbers, rng: np.random.Generator
) -> None:
    """Play a chord for each item: how loud its tones and its hiss are, and how it swells."""
    (folder / "sounds").mkdir(exist_ok=True)
    time = np.arange(int(RATE * SECONDS)) / RATE
    tones = np.sin(2 * np.pi * np.outer(TONES, time))
    for item, dial in zip(item_ids, dials, strict=True):
        *loudness, hiss, fading, tremolo = dial
        chord = np.array(loudness) @ tones + hiss * rng.uniform(-1, 1, len(time))
        swell = 1 - tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * TREMOLO * time))
        samples = chord / 4 * swell * np.exp(-8 * fading * time)  # four parts in (-1, 1)
        with wave.open(str(folder / "sounds" / f"{item}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, len(time), "NONE", "not compressed"))
            file.writeframes((32_000 * samples).astype("<i2").tobytes())
