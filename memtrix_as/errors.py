"""Every exception we raise. The text of each is a sentence that a person can act on."""


class MemtrixError(Exception):
    """The root: anything below is expected, told plainly, and never shown as a traceback."""


class ConfigError(MemtrixError):
    """The configuration is wrong; the text names the key and the way out."""


class DatabaseError(MemtrixError):
    """The database cannot be used as it is (missing, unmigrated, without pgvector)."""


class LocalPartError(MemtrixError):
    """A part that we start ourselves (PostgreSQL, the development homeserver) did not come up."""


class LostTurn(MemtrixError):
    """Another process, or the human, has ended this turn meanwhile: drop what was done."""


class Unanswered(MemtrixError):
    """A human was asked whether a call may run: the turn waits for the answer."""


class ToolError(MemtrixError):
    """A tool could not do what was asked; the model reads this text and reacts to it."""


class HomeserverError(MemtrixError):
    """The homeserver refused a request, or could not be reached.

    `retryable` tells whether the same request may succeed later.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        errcode: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.errcode = errcode
        self.retryable = retryable


class ModelError(MemtrixError):
    """A model call failed; the text is the one plain sentence for the room."""


class ModelUnreachable(ModelError):
    """Nothing answers at the provider's address."""


class ModelRefused(ModelError):
    """The provider does not accept our key, our model name or our request."""


class ModelQuota(ModelError):
    """Too many requests, or no credit left."""


class ModelTimeout(ModelError):
    """The model did not answer, or stopped answering, within the time allowed."""


class ModelBroken(ModelError):
    """The provider failed: HTTP 5xx, a stream cut in the middle, an answer that is none."""


class ModelEmpty(ModelError):
    """The model ended without text and without a tool call."""
