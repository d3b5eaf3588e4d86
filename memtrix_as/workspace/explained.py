"""What the system says about a file, as a sentence that a model or a person can act on."""

import contextlib
import errno
import os
from collections.abc import Iterator

from memtrix_as.errors import PathRefused, ToolError
from memtrix_as.workspace import paths

_FULL = {
    errno.ENOSPC: "The disk is full.",
    errno.EDQUOT: "The disk space that the service may use is used up.",
    errno.EFBIG: "The file is larger than the system allows.",
}


class Missing(ToolError):
    """There is no such file or folder."""


class Taken(ToolError):
    """There is something of this name."""


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """What the system says, as a sentence; never with a path of the machine in it."""
    said = paths.shown(path)
    try:
        yield
    except FileNotFoundError:
        raise Missing(f"There is no {said}. list_directory shows what there is.") from None
    except FileExistsError:
        raise Taken(f"{said} exists already. Choose another name.") from None
    except IsADirectoryError:
        raise ToolError(
            f"{said} is a folder. Use list_directory, or choose another name."
        ) from None
    except (NotADirectoryError, OSError) as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise PathRefused(f"{said} leads through a file or a link, not a folder.") from None
        if exc.errno in _FULL:
            raise ToolError(_FULL[exc.errno]) from None
        raise ToolError(f"{said}: {os.strerror(exc.errno or errno.EIO)}.") from None
