"""Becomes the command that follows, which then ends when the process that started it ends.

Run by its path and never imported, so that it starts in some 30 ms and needs nothing of ours:
`python -I -S shim.py PARENT SIGNAL UID:GID|- PIPE|- COMMAND...`
"""

import ctypes
import os
import signal
import stat
import sys

PR_SET_PDEATHSIG = 1


def drop(owner: str) -> None:
    uid, gid = map(int, owner.split(":"))
    # A pipe that root made cannot be opened anew as /dev/stdin by the account we change to.
    # Only a pipe: standard input may be /dev/null, which everybody needs as it is.
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        os.fchown(0, uid, gid)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with(parent: int, signum: int) -> None:
    """Linux: the kernel signals us. It forgets that at a change of uid, so drop() comes first."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signum) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)


def watch(pipe: int, signum: int) -> None:
    """Elsewhere: a grandchild reads a pipe that ends, without a byte, when the parent does."""
    target = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(pipe)
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    for fd in range(3):
        os.close(fd)
    if not os.read(pipe, 1):
        os.kill(target, signum)
    os._exit(0)


def main(parent: str, number: str, owner: str, pipe: str, *command: str) -> None:
    os.umask(0o077)
    if owner != "-":
        drop(owner)
    if pipe == "-":
        die_with(int(parent), int(number))
    else:
        watch(int(pipe), int(number))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would keep that
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
