"""Words of a text as the lexical index knows them: any language, numbers and names included."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

# Vowel signs of Indic and South-East Asian scripts are marks, which \w leaves out.
_MARKS = "\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff\u0f00-\u109f"
_WORD = re.compile(rf"(?:[^\W_]|[{_MARKS}])+")
# Scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han. And
# Hangul, which hangs its particles on them.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af]+"
)
_ENGLISH_CLITIC = re.compile(r"(?<=\w)['\u2019](?:s|t|d|m|ll|re|ve)\b")
LONGEST = 64  # characters of a word that count: a base64 blob is no word


def words(text: str) -> list[str]:
    """The words of a text in order, folded so that a question meets them.

    Case, diacritics and compatibility forms are dropped (`Café` and `cafe` are one), and the
    commonest English endings (see `stem`). Scripts without spaces, and Hangul, become pairs of
    characters.
    """
    plain = _ENGLISH_CLITIC.sub("", _fold(text))
    return [word for found in _WORD.finditer(plain) for word in _forms(found[0])]


def _fold(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in apart if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFKC", plain)  # puts Hangul together again


def _forms(word: str) -> Iterator[str]:
    if _UNSPACED.search(word):
        place = 0
        for run in _UNSPACED.finditer(word):
            if before := word[place : run.start()]:
                yield stem(before[:LONGEST])
            characters = run[0]
            yield from (characters[i : i + 2] for i in range(max(1, len(characters) - 1)))
            place = run.end()
        if rest := word[place:]:
            yield stem(rest[:LONGEST])
        return
    yield stem(word[:LONGEST])


def telling(found: list[str]) -> list[str]:
    """The words that say what is asked for, all of them when none does.

    Every word counts for the order of what is found, by its rarity. But whether anything fits a
    question must not hang on whether somebody has written "where" before.
    """
    return [word for word in found if word not in _ASKING] or found


def stem(word: str) -> str:
    """A word without its English ending (Snowball), so that "painted" meets "painting".

    Other languages lose little by it, because question and passage are treated alike;
    docs/memory.md tells what it brings. Numbers and names of parts come as they are: there are
    ever new ones, and they need not be kept in mind.
    """
    return _stem(word) if word.isascii() and word.isalpha() else word


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    return str(snowballstemmer.stemmer("english").stemWord(word))  # keeps state: one per word


_ASKING = frozenset(
    words(
        """
        a about after again all also am an and any are as at be been before being but by can could
        did do does doing down during each else ever every few for from get give go had has have
        he her here him his how i if in into is it its just know made make many me mention might
        more most much must my name never no not now of off on once only or other our out over own
        said say shall she should since so some still such take tell than that the their them then
        there these they thing this those though to told too under until up upon us use very was
        we were what when where which while who whom whose why will with within without would you
        your
        """
    )
)
