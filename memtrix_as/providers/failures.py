"""Turns what can go wrong with a provider into one sentence, and says whether to try again."""

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from memtrix_as.errors import (
    ModelBroken,
    ModelError,
    ModelQuota,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)

_SHOWN = 200  # characters of the provider's own words
_KEY = re.compile(r"\b(?:sk|pk|gsk|xai|key)-[\w*.-]{4,}|\bBearer\s+\S+", re.IGNORECASE)
_MARKUP = re.compile(r"<(?:style|script|head)\b.*?</(?:style|script|head)>|<[^>]*>", re.DOTALL)
_TOO_LONG = re.compile(
    r"context.{0,20}(?:length|window|size)|too many tokens|prompt is too long", re.IGNORECASE
)
_NO_SIGHT = re.compile(r"\bimage|\bvision\b|multi-?modal|mmproj", re.IGNORECASE)
_NO_CREDIT = re.compile(
    r"insufficient.{0,10}(?:quota|credit|balance|funds)|out of credit|billing|"
    r"exceeded your current quota",
    re.IGNORECASE,
)


class Failure(Exception):
    """An attempt that failed: what to tell, and whether another may go better.

    `after` is the wait in seconds that the server asks for; `said` are its own words.
    """

    def __init__(
        self,
        error: ModelError,
        *,
        retry: bool = False,
        after: float | None = None,
        status: int = 0,
        said: str = "",
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry = retry
        self.after = after
        self.status = status
        self.said = said


@dataclass(frozen=True)
class Teller:
    """Speaks of one server; `hints` adds a way out by HTTP status."""

    address: str  # as people know it: scheme, host and port
    secret: str = ""
    hints: Mapping[int, str] | None = None

    @classmethod
    def of(cls, url: str, secret: str = "", hints: Mapping[int, str] | None = None) -> "Teller":
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return cls(f"{parts.scheme}://{host}", secret, hints)

    def tell(self, exc: Exception, model: str) -> Failure:
        """What the SDK or its HTTP library raised."""
        if isinstance(exc, openai.APIStatusError):
            error = exc.body if exc.body is not None else exc.response.text
            return self.status(exc.status_code, error, model, exc.response.headers)
        if unreachable := self._unreachable(exc):
            return Failure(ModelUnreachable(unreachable), retry=True)
        connection = isinstance(exc, openai.APIConnectionError)
        if isinstance(exc, openai.APIError) and not connection:  # among the chunks of a stream
            return self.reported(exc.body if exc.body is not None else exc.message, model)
        at = f"the model server at {self.address}"
        text = f"The connection to {at} broke." if _is_network(exc) else f"{at} sent nonsense."
        return Failure(ModelBroken(text[0].upper() + text[1:]), retry=True)

    def reported(self, error: Any, model: str) -> Failure:
        """An error that came in the body of a response whose status was 200."""
        code = error.get("code") if isinstance(error, Mapping) else None
        told = str(code) if isinstance(code, int | str) else ""
        known = int(told) if re.fullmatch("[45][0-9][0-9]", told) else _CODES.get(told, 500)
        return self.status(known, error, model, {})

    def status(self, status: int, error: Any, model: str, headers: Mapping[str, str]) -> Failure:
        """An HTTP status with the error that came with it."""
        said, after = self.cleaned(error), retry_after(headers)
        told = f" It said: {said}" if said else ""
        hint = f" {self.hints[status]}" if self.hints and status in self.hints else ""
        if 400 <= status < 500 and _NO_SIGHT.search(said):
            hint = " If the model cannot see images, set `vision: false` for it."
        at = f"The model server at {self.address}"
        tail = f"{hint}{told}"
        retry = False
        failed: ModelError
        if status == 401:
            failed = ModelRefused(f"{at} does not accept our key; check its `api_key`.{tail}")
        elif status == 402 or (status == 429 and _out_of_credit(error)):
            failed = ModelQuota(f"The quota or the credit at {self.address} is used up.{tail}")
        elif status == 403:
            failed = ModelRefused(f"{at} denied us the request.{tail}")
        elif status == 404:
            failed = ModelRefused(f'{at} does not offer the model "{model}" (404).{tail}')
        elif status == 429:
            wait = f" Try again in {_spoken(after)}." if after else " Try again later."
            failed, retry = ModelQuota(f"{at} has too many requests now.{wait}{tail}"), True
        elif status == 408:
            failed, retry = ModelTimeout(f"{at} took too long to answer.{tail}"), True
        elif status >= 500 or status == 409:
            failed, retry = ModelBroken(f"{at} failed (error {status}).{tail}"), True
        elif _TOO_LONG.search(said):
            failed = ModelRefused(
                f"The conversation is too long for the model; /clear begins a new one.{tail}"
            )
        else:
            failed = ModelRefused(f"{at} refused the request (error {status}).{tail}")
        failed.said = said
        return Failure(failed, retry=retry, after=after, status=status, said=said)

    def too_late(self, seconds: float, begun: bool) -> Failure:
        """The model took longer than it may."""
        did = "finish its answer" if begun else "answer"
        text = f"The model at {self.address} did not {did} within {_spoken(seconds)}."
        return Failure(ModelTimeout(text))

    def fell_silent(self, seconds: float) -> Failure:
        text = f"The model at {self.address} stopped in the middle and said nothing more for"
        return Failure(ModelTimeout(f"{text} {_spoken(seconds)}."))

    def cleaned(self, error: Any) -> str:
        """The provider's message, short, on one line, without markup and keys."""
        message = error
        while isinstance(message, Mapping):
            message = message.get("error") or message.get("message") or message.get("detail") or ""
        text = message if isinstance(message, str) else ""
        text = _KEY.sub("[key]", _MARKUP.sub(" ", text[: 20 * _SHOWN]))
        if self.secret:
            text = text.replace(self.secret, "[key]")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1].rstrip() + "…"

    def _unreachable(self, exc: BaseException) -> str:
        """Why no connection came about; empty if one did."""
        chain: list[BaseException] = [exc]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
            chain.append(cause)
        if not any(isinstance(e, httpx2.ConnectError | httpx2.ConnectTimeout) for e in chain):
            return ""
        if any(isinstance(e, socket.gaierror) for e in chain):
            host = urlsplit(self.address).hostname
            return f'There is no model server named "{host}"; check its `base_url`.'
        if any("CERTIFICATE_VERIFY_FAILED" in str(e) for e in chain):
            return f"The certificate of the model server at {self.address} is not trusted."
        return f"The model server at {self.address} does not answer; is it running?"


def _is_network(exc: Exception) -> bool:
    return isinstance(exc, openai.APIConnectionError | httpx2.TransportError)


_CODES = {
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "context_length_exceeded": 400,
}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header; None without one (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _out_of_credit(error: Any) -> bool:
    inner = error.get("error", error) if isinstance(error, Mapping) else error
    if isinstance(inner, Mapping):
        if "insufficient_quota" in (inner.get("code"), inner.get("type")):
            return True
        inner = inner.get("message")
    return isinstance(inner, str) and bool(_NO_CREDIT.search(inner))


def _spoken(seconds: float) -> str:
    if seconds >= 120:
        return f"{round(seconds / 60)} minutes"
    return "1 second" if round(seconds) == 1 else f"{seconds:.3g} seconds"
