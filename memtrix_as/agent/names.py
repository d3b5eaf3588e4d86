"""What an agent may be called: human names in any script that nobody mistakes for another's."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

from anyascii import anyascii
from confusable_homoglyphs import categories, confusables

from memtrix_as.errors import PeopleError

LONGEST = 40  # characters of a name
LONGEST_SLUG = 40

# Who or what somebody could be taken for, who is not an agent.
RESERVED = frozenset(
    "admin administrator agent all anyone assistant bot channel conduit everybody everyone here "
    "homeserver human internal main management matrix me moderator nobody none null owner "
    "permissions root room server somebody support synapse system tool user you".split()
)
_LETTERS = {"Lu", "Ll", "Lt", "Lm", "Lo"}
_MARKS = {"Mn", "Mc"}
_JOINERS = set(" -'\u2019.\u00b7")  # with the typographic apostrophe and the middle dot
_SHAPE = (
    "A name has 1 to {longest} letters, with spaces, hyphens, apostrophes and dots between them, "
    "such as Dennis, José, Анна or Mary Ann; {name!r} has not."
)


def cleaned(name: str) -> str:
    """The name as it is kept; PeopleError when it is none."""
    told = name.strip()
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", told))
    kinds = [unicodedata.category(character) for character in text]
    letters = sum(kind in _LETTERS for kind in kinds)
    fine = all(
        kind in _LETTERS or kind in _MARKS or kind == "Nd" or character in _JOINERS
        for character, kind in zip(text, kinds, strict=True)
    )
    ends = fine and letters and kinds[0] in _LETTERS and text[-1] not in _JOINERS - {"."}
    piled = re.search(r"[^\w\s]{2}", text) or re.search(r"[\u0300-\u036f]{3}", text)
    if not ends or len(text) > LONGEST or piled:
        raise PeopleError(_SHAPE.format(longest=LONGEST, name=told[:LONGEST]))
    if len(scripts(text)) > 1:
        raise PeopleError(
            f"{told!r} mixes letters of several scripts ({', '.join(sorted(scripts(text)))}), so "
            "it could be taken for another name. Write it in one script."
        )
    if any(outlines(text) & outlines(word) for word in RESERVED) or slug(text) in RESERVED:
        raise PeopleError(f"{told!r} would not be taken for a person's name. Choose another.")
    return text


def scripts(text: str) -> set[str]:
    """The scripts of a text's letters; those that are written together count as one."""
    found = categories.unique_aliases(text) - {"COMMON", "INHERITED"}
    return {"JAPANESE" if s in {"HAN", "HIRAGANA", "KATAKANA"} else s for s in found}


def outlines(name: str) -> frozenset[str]:
    """What a name looks like, in small and in capital letters.

    Names that share one could be mistaken for each other (Unicode Technical Standard 39, whose
    table of confusables the library carries).
    """
    text = unicodedata.normalize("NFD", name)
    return frozenset(_outline(form) for form in (text, text.casefold(), text.upper()))


def _outline(text: str) -> str:
    shapes = "".join(map(_shape, text)).casefold()
    return re.sub(r"\W|_", "", shapes).translate(str.maketrans("il10", "lllo"))


def _shape(character: str) -> str:
    """The ASCII letter that a letter looks like; itself if there is none, nothing for a mark."""
    if unicodedata.category(character) in _MARKS:
        return ""
    if character.isascii():
        return character
    for found in confusables.is_confusable(character, preferred_aliases=[]) or []:
        for alike in found["homoglyphs"]:
            if alike["c"].isascii() and alike["c"].isalnum():
                return str(alike["c"])
    return character


def slug(name: str) -> str:
    """The name in plain Latin letters, as user names are made of."""
    plain = re.sub(r"[^a-z0-9]+", "-", anyascii(name).lower()).strip("-")
    return plain[:LONGEST_SLUG].strip("-") or "agent"


def free(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, … that nobody has."""
    known = set(taken)
    number, name = 1, wanted
    while name in known:
        number += 1
        name = f"{wanted}-{number}"
    return name


def suggested(name: str, known: Iterable[str]) -> list[str]:
    """Names that may have been meant."""
    by_fold = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.6)
    return [by_fold[other] for other in close]
