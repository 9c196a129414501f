import importlib.util
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.config import EncoderOptions
from recsys.content.text.prepare import LANGUAGES, Preparation, training_words
from recsys.errors import ConfigError

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


def prepared(text: str, **options: Any) -> list[str]:
    return Preparation.of(EncoderOptions(**options)).words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't panic, R2-D2!", ["don", "t", "panic", "r2", "d2"]),
        ("snake_case  and\ttabs\n", ["snake", "case", "and", "tabs"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs belong to their word
        (
            "cafe\u0301 \uff26\uff35\uff2c\uff2c \ufb01lm",
            ["caf\u00e9", "full", "film"],
        ),  # one form of what looks alike
        ("Война и мир", ["война", "и", "мир"]),
        ("x" * 101 + " y", ["y"]),
        ("\ud800 a\udc00b", ["a", "b"]),
        ("... !!! 🎬", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert prepared(text) == words


def test_white_space_keeps_punctuation() -> None:
    assert prepared("Don't panic, R2-D2!", tokenizer="whitespace") == ["don't", "panic,", "r2-d2!"]


def test_case_is_kept_on_request() -> None:
    assert prepared("The Thing", lower_case=False) == ["The", "Thing"]


def test_stop_words_by_code_or_name() -> None:
    by_name = prepared("The king of Siam and I", stop_words="English")
    assert by_name == prepared("The king of Siam and I", stop_words="en") == ["king", "siam"]
    assert prepared("Der König und ich", stop_words="german") == ["könig"]
    assert prepared("The King", stop_words="en", lower_case=False) == ["King"]  # in any case


def test_every_language_has_stop_words() -> None:
    import stopwordsiso

    assert set(LANGUAGES.values()) == set(stopwordsiso.langs())


@pytest.mark.parametrize(
    ("language", "close"), [("englisch", "english"), ("qq", "afrikaans"), ("frensh", "french")]
)
def test_an_unknown_language_lists_close_ones(language: str, close: str) -> None:
    with pytest.raises(ConfigError, match=f"no such language; did you mean .*{close}"):
        prepared("x", stop_words=language)


def test_chinese_is_segmented_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    words = prepared("我来到北京清华大学\uff0c很高兴\uff01", tokenizer="chinese")
    assert words == ["我", "来到", "北京", "清华大学", "很", "高兴"]
    assert prepared("我来到北京", tokenizer="chinese", stop_words="zh") == ["来到", "北京"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("option", "module"), [({"tokenizer": "chinese"}, "jieba"), ({"stop_words": "en"}, "stopw")]
)
def test_an_absent_library_is_named(
    option: dict[str, str], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys.content.text import prepare

    prepare._stop_words.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=rf'{module}.*pip install "recsys\[text\]"'):
        prepared("x", **option)


def test_the_key_tells_preparations_apart() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"lower_case": False},
        {"tokenizer": "whitespace"},
        {"tokenizer": "chinese"},
        {"stop_words": "en"},
        {"stop_words": "de"},
    ]
    keys = [Preparation.of(EncoderOptions(**option)).key for option in options]
    assert len(set(keys)) == len(keys)
    assert keys[0] == Preparation().key == Preparation.of(EncoderOptions(lower_case=True)).key


def test_contents_that_are_no_texts_teach_nothing() -> None:
    contents = ["a b", None, float("nan"), " ", "\x00\x01\x02\x03", "c"]
    assert training_words(contents, Preparation()) == [["a", "b"], ["c"]]


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT, st.sampled_from(["words", "whitespace", "chinese"]), st.booleans())
def test_any_text_has_words_that_can_be_kept(text: str, tokenizer: Any, lower: bool) -> None:
    preparation = Preparation(tokenizer, lower)
    words = preparation.words(text)
    for word in words:
        assert word and not any(map(str.isspace, word)) and len(word) <= 100
        word.encode()
    assert words == preparation.words(text)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_words_are_runs_of_letters_digits_and_marks(text: str) -> None:
    runs, run = [], ""
    for letter in [*unicodedata.normalize("NFKC", text).lower(), " "]:
        mark = unicodedata.category(letter) in {"Mn", "Mc"}
        if letter.isalnum() or (mark and run):
            run += letter
        elif run:
            runs.append(run)
            run = ""
    assert Preparation().words(text) == runs


def test_preparing_needs_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys; from recsys.content.text.prepare import Preparation; Preparation().words('a');"
        "print({'jieba', 'gensim', 'torch', 'stopwordsiso'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
