"""What the judge has decided, as the log keeps it."""

from wawp_exporter.log.database import Mark
from wawp_exporter.log.judgements import EVERYWHERE, Judgement
from wawp_exporter.log.log import Log
from wawp_exporter.model.shard import Shard

SHARDS = {"eu": Shard(0, 2, frozenset({"eu"})), "us": Shard(1, 2, frozenset({"us"}))}


def test_no_shard_keeps_another_from_saving(log: Log) -> None:
    """Both save outages of several sources; the one whose place in the log is earlier must not lose what it judged."""
    for source, seq in (("eu", 9), ("us", 5)):
        log.database.shard = SHARDS[source]
        memories = {source: b'"a source"', EVERYWHERE: f'"several, by {source}"'.encode()}
        with log.database.writing() as writer:
            log.judgements.keep(writer, Judgement(memories, {(source, "s"): b'"judged"'}, Mark(seq)))

    for source, seq in (("eu", 9), ("us", 5)):
        log.database.shard = SHARDS[source]
        kept = log.judgements.load([source])
        assert kept.sources == {source: b'"a source"', EVERYWHERE: f'"several, by {source}"'.encode()}
        assert kept.marks == {source: Mark(seq), EVERYWHERE: Mark(seq)}
        assert kept.sessions == {(source, "s"): b'"judged"'}
