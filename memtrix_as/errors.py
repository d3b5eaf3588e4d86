"""Every exception we raise. The text of each is a sentence that a person can act on."""


class MemtrixError(Exception):
    """The root: anything below is expected, told plainly, and never shown as a traceback."""


class ConfigError(MemtrixError):
    """The configuration is wrong; the text names the key and the way out."""


class DatabaseError(MemtrixError):
    """The database cannot be used as it is (missing, unmigrated, without pgvector)."""


class LocalPartError(MemtrixError):
    """A part that we start ourselves (PostgreSQL, the development homeserver) did not come up."""


class BackupError(MemtrixError):
    """A backup cannot be made, read or brought back; what was there before is still there."""


class LostTurn(MemtrixError):
    """Another process, or the human, has ended this turn meanwhile: drop what was done."""


class Unanswered(MemtrixError):
    """A human was asked whether a call may run: the turn waits for the answer."""


class ToolError(MemtrixError):
    """A tool could not do what was asked; the model reads this text and reacts to it."""


class WorkspaceFull(ToolError):
    """An agent's workspace holds what it may; `why` is the same to end a sentence."""

    def __init__(self, used: int, most: int) -> None:
        """Both in bytes."""
        figures = f"{used / 1e6:,.1f} of {most / 1e6:,.0f} MB are used"
        super().__init__(
            f"There is no room for this in the workspace: {figures}. Delete what is not needed any "
            "more, or have an administrator raise limits.workspace_size."
        )
        self.why = (
            f"there is no room for it in my workspace ({figures}). Have me delete something, or "
            "raise limits.workspace_size, then send it again"
        )


class AdminError(MemtrixError):
    """A command of the management room cannot be carried out; the text says what to type."""


class AttachmentError(MemtrixError):
    """A file that came with a message cannot be had; the text says why, to end a sentence."""


class PersonaError(ToolError):
    """A core file cannot be read or written as asked."""


class PeopleError(ToolError):
    """An agent cannot be had, made, named or taken leave of as asked."""


class JournalError(MemtrixError):
    """A journal cannot be written as asked."""


class JournalChanged(JournalError):
    """A rewrite would take out entries that its writer has not seen."""


class PathRefused(ToolError):
    """A path that the general file tools do not touch; the text says which to use instead."""


class OutboundError(ToolError):
    """A request of a tool came to nothing; the text says what to do instead."""


class AddressRefused(OutboundError):
    """The address is not one that tools may reach."""


class Unreachable(OutboundError):
    """The server cannot be reached, broke off, or speaks no proper HTTP."""


class BadStatus(OutboundError):
    """The server answered, but not with what was asked for."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class TooSlow(OutboundError):
    """The server took longer than a request may take."""


class TooLarge(OutboundError):
    """There is more than may be taken in."""


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
    """A model call failed; the text is the one plain sentence for the room.

    The figures are what the provider says that it took all the same, the cost in US dollars.
    """

    prompt_tokens = 0
    completion_tokens = 0
    cost: float | None = None
    said = ""  # what of the text are the server's own words, which may quote what it was sent

    @property
    def unquoted(self) -> str:
        """The text without what the server said: for the log."""
        return str(self).replace(self.said, "(…)") if self.said else str(self)


class BudgetSpent(ModelError):
    """What may be spent in a day is spent: the model was not asked."""


class GaveWay(ModelError):
    """A model was not asked, or not to the end, because a human waits for it."""


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
