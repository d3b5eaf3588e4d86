"""What tools know of the way out: the guarded client, the search engine and the limits."""

from dataclasses import dataclass
from urllib.parse import urlencode

from yarl import URL

from memtrix_as.config import Config
from memtrix_as.outbound.client import Outbound
from memtrix_as.outbound.policy import Only, Policy


@dataclass(frozen=True, slots=True)
class Web:
    """The web as tools may use it."""

    outbound: Outbound
    engine: Outbound | None  # reaches the operator's search engine only
    searxng_url: str | None
    download_size: int = 50_000_000  # bytes

    @classmethod
    def of(cls, config: Config) -> "Web":
        address = config.search.searxng_url
        engine = Outbound(Only(URL(address).origin())) if address else None
        size = config.tools.download_size * 1_000_000
        return cls(Outbound(Policy.of(config)), engine, address, size)

    def search_url(self, query: str, page: int) -> str:
        """Where the engine answers in JSON."""
        asked = {"q": query, "format": "json", "categories": "general", "pageno": page}
        return f"{self.searxng_url}/search?{urlencode(asked)}"
