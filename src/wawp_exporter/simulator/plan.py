"""A plan: which session says what at which time, and what a scenario is made of. Times are virtual seconds."""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

STARTING, SCAN, WORKING, FAILED = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED"
STOPPED, DISCONNECTED = "STOPPED", "DISCONNECTED"
PASSKEY, CONFIRMATION = "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"
BROWSERS = frozenset({"WEBJS", "WPP"})  # the engines that restart themselves 2 s after FAILED


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of `payload.statuses`, in virtual ms."""

    status: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Data:
    """`payload.data`, under `key` if it has one; the fields in `instants` are virtual seconds."""

    key: str
    fields: tuple[tuple[str, str | bool | float], ...]
    instants: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """A status `after` s after the session's previous one; `boot`: a new engine object without history."""

    after: float
    status: str
    data: Data | None = None
    boot: bool = False


@dataclass(frozen=True, slots=True)
class Emission:
    """One event: `statuses` ends with its own point; `paired` says whether the engine knows its account.

    `lag_ms` is how much later than its point the envelope is stamped, as in one of four real events.
    """

    session: str
    engine: str
    status: str
    statuses: tuple[Point, ...]
    data: Data | None
    paired: bool
    lag_ms: int

    @property
    def at_ms(self) -> int:
        """Virtual milliseconds since the start of the plan."""
        return self.statuses[-1].at_ms

    @property
    def at(self) -> float:
        """Virtual seconds since the start of the plan."""
        return self.at_ms / 1000


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a session has received or sent (`own`), or the acknowledgement of a sent one by WhatsApp's server.

    `key` is the message's id without its chat.
    """

    session: str
    engine: str
    at_ms: int
    key: str
    own: bool
    acknowledges: bool = False

    @property
    def at(self) -> float:
        """Virtual seconds since the start of the plan."""
        return self.at_ms / 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """All emissions and messages in time order; two emissions of a session are at least a millisecond apart."""

    name: str
    seed: int
    engines: Mapping[str, str]
    emissions: tuple[Emission, ...]
    spurious_stops: bool = False
    messages: tuple[Message, ...] = ()

    @property
    def events(self) -> Iterator[Emission | Message]:
        """All that is sent, in time order."""
        events: tuple[tuple[Emission | Message, ...], ...] = (self.emissions, self.messages)
        return heapq.merge(*events, key=lambda event: event.at_ms)

    @property
    def length(self) -> float:
        """Virtual seconds until the last emission."""
        ends = [events[-1].at for events in (self.emissions, self.messages) if events]
        return max(ends, default=0.0)


@dataclass(frozen=True, slots=True)
class Role:
    """What a story knows: its session, its own random numbers, and how many seconds the trouble lasts."""

    session: str
    index: int
    engine: str
    rng: Random
    duration: float
    heartbeat: float


@dataclass(frozen=True, slots=True)
class Talk:
    """From virtual second `since` on so many messages an hour; the sent ones may stay without acknowledgement."""

    since: float
    received: float = 60.0
    sent: float = 30.0
    acknowledged: bool = True


Story = Callable[[Role], Iterator[Step]]
Talks = Callable[[Role], tuple[Talk, ...]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`share` of the sessions lives through `story` (0: exactly one), the others through `steady`.

    `duration` is the default length of the trouble in seconds, `pace` the default pace; `engine` is what all
    sessions have, if the story is about one. `past`: it is back-dated, so that it ends now. With `talks` all sessions
    receive and send messages, and those in trouble do so by it.
    """

    name: str
    summary: str
    story: Story
    engine: str | None = None
    share: float = 1.0
    duration: float = 120.0
    pace: float = 1.0
    past: bool = False
    talks: Talks | None = None


def dice(*parts: object) -> Random:
    """Random numbers of their own for each purpose: one more session changes nothing for the others."""
    return Random("/".join(map(str, parts)))  # noqa: S311 - a repeatable play, no secret
