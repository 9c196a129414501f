"""Texts as lists of words: which words there are is a choice, so it is one that can be read.

Every text is first put in one form: lone surrogates become "?", and what looks alike is written
alike (Unicode NFKC: full-width letters, ligatures).
"""

import hashlib
import importlib.util
import logging
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

from recsys.config import EncoderOptions
from recsys.content.text.text_encoder import LONGEST, why_unreadable
from recsys.errors import ConfigError

__all__ = ["Preparation", "Tokenizer", "training_words"]

Tokenizer = Literal["words", "whitespace", "chinese"]

VERSION = 1  # of the preparation: raise it when the same text gives other words
LONGEST_WORD = 100  # letters; what is longer is a code or noise, and left out

# The languages of the stop words by English name (ISO 639-1).
LISTED = (
    "afrikaans=af arabic=ar armenian=hy basque=eu bengali=bn breton=br bulgarian=bg catalan=ca "
    "chinese=zh croatian=hr czech=cs danish=da dutch=nl english=en esperanto=eo estonian=et "
    "finnish=fi french=fr galician=gl german=de greek=el gujarati=gu hausa=ha hebrew=he "
    "hindi=hi hungarian=hu indonesian=id irish=ga italian=it japanese=ja korean=ko kurdish=ku "
    "latin=la latvian=lv lithuanian=lt malay=ms marathi=mr norwegian=no persian=fa polish=pl "
    "portuguese=pt romanian=ro russian=ru slovak=sk slovenian=sl somali=so sotho=st spanish=es "
    "swahili=sw swedish=sv tagalog=tl thai=th turkish=tr ukrainian=uk urdu=ur vietnamese=vi "
    "yoruba=yo zulu=zu"
)
LANGUAGES = dict(pair.split("=") for pair in LISTED.split())


@dataclass(frozen=True)
class Preparation:
    """How a text becomes words.

    Attributes:
        tokenizer: ``"words"``: runs of letters, digits and their accents, in any script that puts
            spaces between words; ``"whitespace"``: what stands between spaces, punctuation
            included; ``"chinese"``: segmented by jieba, punctuation left out.
        lower_case: whether "The" is "the".
        stop_words: the language (ISO 639-1) whose commonest words are left out; "" for none.
    """

    tokenizer: Tokenizer = "words"
    lower_case: bool = True
    stop_words: str = ""

    def __post_init__(self) -> None:
        if self.stop_words:
            _stop_words(self.stop_words)
        if self.tokenizer == "chinese":
            _need("jieba", "tokenizer = 'chinese'")

    @classmethod
    def of(cls, options: EncoderOptions) -> "Preparation":
        """Take the preparation from an encoder's options.

        Raises:
            ConfigError: there are no stop words of this language, or a library is absent.
        """
        return cls(
            tokenizer=options.tokenizer or "words",
            lower_case=options.lower_case is not False,
            stop_words=_language(options.stop_words) if options.stop_words else "",
        )

    @property
    def key(self) -> str:
        """The preparation in a word, for the key of a cache; changes whenever the words may."""
        parts = [self.tokenizer, "lower" if self.lower_case else "cased"]
        if self.stop_words:
            listed = "\n".join(sorted(_stop_words(self.stop_words)))
            parts.append(f"no-{self.stop_words}-{hashlib.sha256(listed.encode()).hexdigest()[:6]}")
        return "+".join(parts) + f"-v{VERSION}"

    def words(self, text: str) -> list[str]:
        """Return the words of any text in order; none holds white space."""
        text = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())
        if self.lower_case:
            text = text.lower()
        match self.tokenizer:
            case "words":
                words = _word_pattern().findall(text)
            case "whitespace":
                words = text.split()
            case "chinese":
                words = [word for word in _segment()(text) if any(map(str.isalnum, word))]
        left_out = _stop_words(self.stop_words) if self.stop_words else frozenset[str]()
        return [
            word for word in words if len(word) <= LONGEST_WORD and word.lower() not in left_out
        ]


def training_words(contents: Sequence[object], preparation: Preparation) -> list[list[str]]:
    """Return the words of each content that is a text; the others are left out."""
    texts = (text for text in contents if isinstance(text, str) and why_unreadable(text) is None)
    return [preparation.words(text[:LONGEST]) for text in texts]


def _language(name: str) -> str:
    """Return the code of a language given by code or English name.

    Raises:
        ConfigError: no stop words are known of it.
    """
    wanted = name.strip().lower()
    if wanted in LANGUAGES:
        return LANGUAGES[wanted]
    if wanted in LANGUAGES.values():
        return wanted
    close = get_close_matches(wanted, [*LANGUAGES, *LANGUAGES.values()], n=3) or sorted(LANGUAGES)
    raise ConfigError(
        f"stop_words = {name!r}: no such language; did you mean {', '.join(close)}? "
        "(an English name or an ISO 639-1 code)"
    )


@lru_cache(maxsize=len(LANGUAGES))
def _stop_words(code: str) -> frozenset[str]:
    """The stop words of a language in the package stopwordsiso, in the form of prepared words."""
    _need("stopwordsiso", f"stop_words = {code!r}")
    import stopwordsiso

    words = stopwordsiso.stopwords(code)
    return frozenset(unicodedata.normalize("NFKC", word).lower() for word in words)


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    r"""Letters and digits with the marks on them, which ``\w`` lacks: it cuts Hindi in pieces."""
    letters = map(chr, range(sys.maxunicode + 1))
    marks = "".join(letter for letter in letters if unicodedata.category(letter) in {"Mn", "Mc"})
    return re.compile(rf"[^\W_]+(?:[{marks}]+[^\W_]*)*")


@lru_cache(maxsize=1)
def _segment() -> Callable[[str], list[str]]:
    """Jieba's segmentation, silent, without the cache that it keeps in a folder open to all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age: it imports pkg_resources
        import jieba
    jieba.setLogLevel(logging.ERROR)
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    segment: Callable[[str], list[str]] = tokenizer.lcut
    return segment


def _need(module: str, setting: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigError(f'{setting} needs {module}: pip install "recsys[text]"')
