"""A git repository in memory, with whatever a hostile one may hold, and a server for it."""

import ssl
import threading
from collections.abc import Sequence
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.objects import Blob, Commit, Tree
from dulwich.repo import MemoryRepo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

from tests.rig.web import OPEN, anonymous

FILE, LINK, MODULE, FOLDER = 0o100644, 0o120000, 0o160000, 0o040000


class Repository:
    """`add` puts files into the first commit; `commit` makes one and lets HEAD point at it."""

    def __init__(self) -> None:
        self.repo = MemoryRepo()
        self.root = Tree()

    def blob(self, data: bytes) -> bytes:
        blob = Blob.from_string(data)
        self.repo.object_store.add_object(blob)
        return blob.id

    def tree(self, *entries: tuple[bytes, int, bytes]) -> bytes:
        tree = Tree()
        for name, mode, sha in entries:
            tree.add(name, mode, sha)
        self.repo.object_store.add_object(tree)
        return tree.id

    def add(self, name: bytes, data: bytes = b"x", mode: int = FILE) -> None:
        self.root.add(name, mode, self.blob(data))

    def commit(self) -> str:
        self.repo.object_store.add_object(self.root)
        commit = Commit()
        commit.tree = self.root.id
        commit.author = commit.committer = b"A <a@b>"
        commit.author_time = commit.commit_time = 1
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"m"
        parents: Sequence[bytes] = [self.repo.head()] if b"HEAD" in self.repo.refs else []
        commit.parents = list(parents)
        self.repo.object_store.add_object(commit)
        self.repo.refs[b"refs/heads/main"] = commit.id
        self.repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
        return str(commit.id.decode())


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class GitServer:
    """Serves one repository at /repo.git, as a real git server does over HTTP."""

    def __init__(self, repository: Repository, *, tls: bool = False) -> None:
        app = make_wsgi_chain(DictBackend({"/repo.git": repository.repo}))
        self._server: WSGIServer = make_server(OPEN, 0, app, handler_class=_Quiet)
        if tls:
            context = anonymous(ssl.PROTOCOL_TLS_SERVER)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://ok.test:{self._server.server_port}/repo.git"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
