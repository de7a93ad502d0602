"""Which sources a replica restores, follows and exports, where a log has several shards."""

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from wawp_exporter.config.schema import Config


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 0) of `total`; `sources` are the configured ones that it holds.

    A source is whole on one shard: whether many sessions of it are lost at once is seen by one replica alone.
    """

    index: int = 0
    total: int = 1
    sources: frozenset[str] = frozenset()

    def holds(self, source: str) -> bool:
        """Whether the sessions of a source are in this shard."""
        return self.total == 1 or source in self.sources

    def held(self, sources: Iterable[str]) -> list[str]:
        """Those of `sources` that are in this shard."""
        return [source for source in sources if self.holds(source)]


def shard_of(config: Config) -> Shard:
    """The shard of this replica, by the configuration."""
    index, total = config.shard.ordinal, config.shard.total
    placed = {name: place(name, total, source.shard) for name, source in config.sources.items()}
    return Shard(index, total, frozenset(name for name, at in placed.items() if at == index))


def place(source: str, total: int, chosen: int | None) -> int:
    """The index of the shard that holds a source: the one that the configuration chooses, else one by its name."""
    return crc32(source.encode()) % total if chosen is None else chosen
