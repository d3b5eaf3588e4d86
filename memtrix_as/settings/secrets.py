"""Secrets: where they come from, and how their values are kept out of every text."""

import json
import logging
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

PREFIX = "MEMTRIX_SECRET_"
FILE_SUFFIX = "_FILE"
# Shorter values are left alone: replacing them would tear holes into unrelated words. So are a
# single word ("postgres") and a number ("20261123"), which others write who know no secret.
SHORTEST = 8
TRIVIAL = re.compile(r"[^\W\d_]{0,11}|\d{0,11}")


def find(
    name: str,
    variables: Mapping[str, str],
    folder: Path = Path("/run/secrets"),
    own: Path = Path("secrets"),
) -> str:
    """The value of the secret `name`; LookupError says how to provide it.

    `own` is the folder beside the configuration, which is looked into after `folder`.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", name) or name.endswith(FILE_SUFFIX):
        raise LookupError(
            "a value that starts with $ names a secret: letters, digits and _ after the $, "
            f"not ending in {FILE_SUFFIX}"
        )
    pointer = variables.get(f"{PREFIX}{name}{FILE_SUFFIX}")
    file = Path(pointer or folder / name)
    if not pointer and not file.is_file() and (own / name).is_file():
        file = own / name
    if pointer or file.is_file():
        try:
            value = file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            reason = getattr(exc, "strerror", None) or "it is not text"
            raise LookupError(f"the secret ${name} cannot be read from {file}: {reason}") from exc
    else:
        value = variables.get(PREFIX + name, "")
    if not value.strip():
        raise LookupError(
            f"the secret ${name} is not there; give it by a file that the variable "
            f"{PREFIX}{name}{FILE_SUFFIX} names, by the file {folder / name} or {own / name}, "
            f"or by the variable {PREFIX}{name}"
        )
    return value


def in_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold a secret themselves (not those that say where a file is)."""
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(PREFIX) and not name.endswith(FILE_SUFFIX)
    }


class Redactor:
    """Replaces the secrets that it has been told of by `[secret]`."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: str) -> None:
        """Remember a secret, and the forms it takes in an address or in JSON."""
        # A secret that is a connection URL leaks by its password, not only as a whole.
        self._learn_password(value)
        if len(value) < SHORTEST or TRIVIAL.fullmatch(value):
            return
        forms = {value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1]}
        if not forms <= self._known:
            self._known |= forms
            longest_first = sorted(self._known, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def _learn_password(self, value: str) -> None:
        try:
            parts = urlsplit(value)
            user, password = parts.username, parts.password
        except ValueError:
            return
        # Where password and user name are the same word, blotting it out would hide that word
        # everywhere and protect nothing.
        if "://" in value and password and password != user:
            self.learn(password)
            self.learn(unquote(password))

    def __call__(self, text: str) -> str:
        return self._pattern.sub("[secret]", text) if self._pattern else text


class RedactingFilter(logging.Filter):
    """Takes secrets out of a record's message, arguments, exception and stack.

    Put it on handlers: a filter on a logger does not see what its children log.
    """

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # logging would print the arguments raw when it fails to format them
            message = f"{record.msg} {record.args!r}"
            record.msg, record.args = self._redact(message), None
        if (clean := self._redact(message)) != message:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[0] and not record.exc_text:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (clean := self._redact(text)) != text:
                # without exc_info, no handler can format the exception once more by itself
                record.exc_text, record.exc_info = clean, None
        elif record.exc_text:
            record.exc_text = self._redact(record.exc_text)
        if record.stack_info:
            record.stack_info = self._redact(record.stack_info)
        return True
