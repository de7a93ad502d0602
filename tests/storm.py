"""Replicas under load while things break: gateways that send until they are answered 200, and a choice of disasters.

For the tests and, for longer, for the bench.
"""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from tests import parts

STATUSES = ("WORKING", "FAILED", "STARTING")
SILENCE_S = 3.0  # after which a gateway takes a replica for dead


class Gateways:
    """Senders of distinct events, each of its own sessions in their order, to any replica that answers."""

    def __init__(self, replicas: Sequence[parts.Exporter], count: int, seed: int) -> None:
        self.replicas = replicas
        self.random = random.Random(seed)
        self.count = count
        self.said: dict[str, list[tuple[str, int]]] = {f"s-{number}": [] for number in range(count)}
        self.outcomes: Counter[str] = Counter()
        self.retries = 0
        self.done = False

    def next_event(self, session: str) -> tuple[str, int]:
        """Another status than before, a millisecond later at least."""
        said = self.said[session]
        before = said[-1] if said else ("", parts.now_ms() - 3_600_000)
        status = self.random.choice([status for status in STATUSES if status != before[0]])
        said.append((status, before[1] + self.random.randrange(1, 50)))
        return said[-1]

    async def run(self) -> None:
        """Sends until `done`; every event is answered 200 before its sender goes on."""
        limits = httpx.Limits(max_connections=self.count * 2)
        async with httpx.AsyncClient(timeout=SILENCE_S, trust_env=False, limits=limits) as client:
            await asyncio.gather(*(self._send(client, session) for session in self.said))

    async def until(self, sent: int) -> None:
        """Returns when so many events have been sent, however slow the replicas are."""
        while self.sent < sent:  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)

    async def _send(self, client: httpx.AsyncClient, session: str) -> None:
        while not self.done:
            status, at = self.next_event(session)
            body = parts.encode(parts.envelope(session=session, status=status, timestamp=at, statuses=[]))
            while not await self._post(client, body):
                self.retries += 1
                await asyncio.sleep(0.05)

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> bool:
        try:
            answer = await client.post(f"{self.random.choice(self.replicas).url}/webhook", content=body)
        except httpx.TransportError:
            return False
        if answer.status_code == 200:
            self.outcomes[answer.json()["outcome"]] += 1
        elif answer.status_code != 503:
            raise AssertionError(f"{answer.status_code} {answer.text}")
        return answer.status_code == 200

    @property
    def sent(self) -> int:
        """How many distinct events were answered."""
        return sum(map(len, self.said.values()))


class Disasters:
    """What can happen to replicas and their database; each returns when it is over."""

    def __init__(self, replicas: Sequence[parts.Exporter], server: parts.Postgres, database: str, seed: int) -> None:
        self.replicas = replicas
        self.server = server
        self.database = database
        self.random = random.Random(seed)
        self.happened: list[str] = []
        self.restarted: set[int] = set()

    @property
    def all(self) -> list[Callable[[], None]]:
        """Each of them."""
        return [self.kill, self.restart_database, self.cut, self.pause]

    def kill(self) -> None:
        """A replica ends without a word, and another process takes its place."""
        index = self.random.randrange(len(self.replicas))
        self.restarted.add(index)
        self.replicas[index].kill()
        self.replicas[index].start()
        self._note(f"kill {index}")

    def restart_database(self) -> None:
        """The database crashes and comes back."""
        self.server.stop("immediate")
        time.sleep(self.random.uniform(0.1, 1.0))
        self.server.start()
        self._note("restart database")

    def cut(self) -> None:
        """Connections to the database break."""
        some = f"application_name = 'wawp-exporter' AND datname = '{self.database}' AND random() < 0.5"
        self.server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {some}")
        self._note("cut")

    def pause(self, seconds: float = 4.0) -> None:
        """A replica stands still, in whatever it was doing, and goes on."""
        index = self.random.randrange(len(self.replicas))
        self._signal(index, signal.SIGSTOP)
        time.sleep(seconds)
        self._signal(index, signal.SIGCONT)
        self._note(f"pause {index}")

    def _signal(self, index: int, what: signal.Signals) -> None:
        process = self.replicas[index].process
        assert process
        process.send_signal(what)

    def _note(self, what: str) -> None:
        self.happened.append(what)


def states(replica: parts.Exporter) -> dict[str, tuple[str, str]]:
    """Each session's status and since-time, as the replica tells them."""
    found: dict[str, tuple[str, str]] = {}
    cursor = ""
    while True:
        page = replica.get(f"/api/v1/sessions?limit=500{cursor}").json()
        found |= {each["session"]: (each["status"], each["since"]) for each in page["sessions"]}
        if not page.get("next_cursor"):
            return found
        cursor = f"&cursor={page['next_cursor']}"


def transitions_of(replica: parts.Exporter) -> float:
    """How many transitions it has counted."""
    lines = replica.metrics().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("wawp_transitions_total{"))


def logged(server: parts.Postgres, database: str) -> list[tuple[str, str, int]]:
    """The events in the log, in order of their times."""
    query = (
        "SELECT json_agg(json_build_array(s.name, e.status, e.key_at) ORDER BY e.key_at) "
        "FROM event e JOIN session s ON s.id = e.session_id"
    )
    rows: list[Any] = json.loads(server.sql(query, database) or "[]")
    return [tuple(row) for row in rows]


def judge(gateways: Gateways, server: parts.Postgres, database: str, steady: Sequence[parts.Exporter]) -> None:
    """Nothing acknowledged is lost, nothing is there twice, all replicas agree, and the steady ones counted right."""
    sent = sorted((name, status, at) for name, told in gateways.said.items() for status, at in told)
    assert sorted(logged(server, database)) == sent
    expected = {name: told[-1][0] for name, told in gateways.said.items()}

    def agree() -> bool:
        told = [states(replica) for replica in gateways.replicas]
        same = all(each == told[0] for each in told)
        return same and {name: status for name, (status, _) in told[0].items()} == expected

    parts.wait_until(agree, "the replicas to agree with what was sent")
    for replica in steady:
        assert transitions_of(replica) == len(sent)
