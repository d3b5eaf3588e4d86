"""What the homeserver says of itself and of our registration, when somebody asks for it."""

from uuid import uuid4

from mautrix.api import Method, Path, PathBuilder

from memtrix_as.config import Config
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.client import Client

VERSIONS = PathBuilder("_matrix/client/versions")
VERSION = PathBuilder("_matrix/federation/v1/version")


class Server:
    """Asks the homeserver as one of our users; HomeserverError where it refuses."""

    def __init__(self, client: Client, config: Config) -> None:
        self._client = client
        self._service = config.appservice
        domain = config.homeserver.domain
        self.bot = f"@{self._service.bot_username}:{domain}"
        self.sender = f"@{self._service.sender_localpart}:{domain}"

    async def version(self) -> str:
        """Its name and version, or else the newest version of Matrix that it speaks."""
        try:
            told = await self._client.request(Method.GET, VERSION, user=self.bot)
            return f"{told['server']['name']} {told['server']['version']}"
        except (HomeserverError, KeyError, TypeError):
            pass  # where federation is off, it does not say
        told = await self._client.request(Method.GET, VERSIONS, user=self.bot)
        return f"speaks Matrix {told['versions'][-1]}, and does not say what it is"

    async def whoami(self, user: str) -> str:
        """Whom the homeserver takes us for when we act as `user`."""
        path = Path.v3.account.whoami
        return str((await self._client.request(Method.GET, path, user=user)).get("user_id", ""))

    async def reach(self) -> None:
        """Have the homeserver call us at the address that it knows."""
        path = Path.v1.appservice[self._service.id].ping
        await self._client.request(
            Method.POST, path, {"transaction_id": uuid4().hex}, user=self.bot
        )
