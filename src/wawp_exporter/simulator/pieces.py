"""Pieces of stories: what each engine sends at a start, a login, a lost network and a restart.

The sequences are those of captures of WAHA 2026.2.1 and, where an engine could not be captured (GOWS, WPP), of its
source.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from wawp_exporter.simulator.plan import (
    BROWSERS,
    CONFIRMATION,
    DISCONNECTED,
    FAILED,
    PASSKEY,
    SCAN,
    STARTING,
    STOPPED,
    WORKING,
    Data,
    Role,
    Step,
)

# Seconds from STARTING to WORKING with stored auth, and from STARTING to the first QR image.
BOOT = {"GOWS": (1.0, 3.0), "NOWEB": (2.0, 4.3), "WEBJS": (5.0, 15.0), "WPP": (5.0, 15.0)}
FIRST_QR = {"GOWS": 1.0, "NOWEB": 2.0, "WEBJS": 6.0, "WPP": 6.0}
ENGINES = tuple(BOOT)
QR_SHOWN = (0, 60, 80, 100, 120, 140)  # seconds after the first image; the last one ends at QR_END
QR_END = 160.0
NOWEB_RETRY = 2.006
NOWEB_ATTEMPTS = 60
SPURIOUS_STOP = 0.009  # seconds from the STOPPED that WAHA up to 2026.1.1 sends before each start


def boot(role: Role, after: float = 0.0) -> Iterator[Step]:
    """A start with stored auth."""
    yield Step(after, STARTING, boot=True)
    yield Step(role.rng.uniform(*BOOT[role.engine]), WORKING)


def rising(role: Role) -> Iterator[Step]:
    """Boots within the first seconds of the plan."""
    return boot(role, role.rng.uniform(0, 5))


def images(first: float, until: float = QR_END) -> Iterator[Step]:
    """The QR images shown in the `until` s after the first one, which comes after `first` s."""
    shown = [at for at in QR_SHOWN if at < until]
    yield Step(first, SCAN)
    for before, at in pairwise(shown):
        yield Step(at - before, SCAN)


def last_image(until: float) -> float:
    """Seconds from the last image of `images` until `until`."""
    return until - max(at for at in QR_SHOWN if at < until)


def answered(role: Role, wait: float) -> Iterator[Step]:
    """QR images, scanned `wait` s after the first; NOWEB then restarts its socket."""
    yield from images(FIRST_QR[role.engine], wait)
    rest = last_image(wait)
    if role.engine == "NOWEB":
        yield Step(rest, STARTING)
        rest = role.rng.uniform(*BOOT["NOWEB"])
    yield Step(rest, WORKING)


def unanswered(role: Role) -> Iterator[Step]:
    """Six QR images that nobody scans, then FAILED."""
    yield from images(FIRST_QR[role.engine])
    yield Step(last_image(QR_END), FAILED)


def reconnects(after: float, count: int) -> Iterator[Step]:
    """NOWEB without network: STARTING at every attempt; the 60th turns FAILED at once and stays."""
    for attempt in range(count):
        yield Step(NOWEB_RETRY if attempt else after, STARTING)
    if count >= NOWEB_ATTEMPTS:
        yield Step(0.004, FAILED)


def crashes(role: Role, after: float, lasting: float) -> Iterator[Step]:
    """A browser engine without network: FAILED for 2 s, STARTING for half a second, over and over."""
    spent = 0.0
    while spent < lasting:
        yield Step(after, FAILED)
        yield Step(2.0, STARTING)
        after = role.rng.uniform(0.4, 0.9)
        spent += 2.0 + after


def stop(role: Role, after: float) -> Iterator[Step]:
    """An API restart up to its STARTING: STOPPED for 3 s, or 13 if the socket was still connecting."""
    yield Step(after, STOPPED)
    yield Step(role.rng.choice((3.0, 13.0)) + role.rng.uniform(0, 0.05), STARTING, boot=True)


def restarted(role: Role, after: float) -> Iterator[Step]:
    """An API restart of a session with stored auth."""
    yield from stop(role, after)
    yield Step(role.rng.uniform(*BOOT[role.engine]), WORKING)


def outage(role: Role, after: float, lasting: float) -> Iterator[Step]:
    """No network for `lasting` s, as each engine reports it; somebody restarts a NOWEB that gave up."""
    if role.engine == "NOWEB":
        count = min(NOWEB_ATTEMPTS, max(1, round(lasting / NOWEB_RETRY)))
        yield from reconnects(after, count)
        if count == NOWEB_ATTEMPTS:
            yield from restarted(role, max(10.0, lasting - count * NOWEB_RETRY))
            return
        yield Step(role.rng.uniform(*BOOT["NOWEB"]), WORKING)
    elif role.engine in BROWSERS:
        yield from crashes(role, after, lasting)
        yield Step(role.rng.uniform(*BOOT[role.engine]), WORKING)
    else:
        yield Step(after, STARTING)
        yield Step(lasting, WORKING)


def disconnected(role: Role, after: float, lasting: float) -> Iterator[Step]:
    """DISCONNECTED, which only Wawp sends, until it starts again."""
    yield Step(after, DISCONNECTED)
    yield Step(lasting, STARTING)
    yield Step(role.rng.uniform(*BOOT[role.engine]), WORKING)


def timelock(active: bool, ends: float) -> Data:
    """WhatsApp forbids new chats until `ends` (virtual seconds)."""
    fields = (
        ("enforcementType", "RESTRICT_ALL_COMPANIONS"),
        ("isActive", active),
        ("timeEnforcementEnds", ends),
    )
    return Data("reachoutTimelock", fields, frozenset({"timeEnforcementEnds"}))


def capping(status: str, used: int) -> Data:
    """The monthly quota of messages to new chats."""
    fields: tuple[tuple[str, str | float], ...] = (
        ("cappingStatus", status),
        ("totalQuota", 1000),
        ("usedQuota", used),
        ("cycleStart", 0.0),
        ("cycleEnd", 2_592_000.0),
        ("mvStatus", "NOT_ELIGIBLE"),
        ("oteStatus", "NOT_ELIGIBLE"),
    )
    return Data("messageCapping", fields, frozenset({"cycleStart", "cycleEnd"}))


def passkey(role: Role) -> Iterator[Step]:
    """WhatsApp wants a passkey, and a code compared, before it takes the pairing."""
    challenge = (("rpId", "web.whatsapp.com"), ("challenge", f"{role.rng.getrandbits(128):032x}"), ("timeout", 60000))
    yield Step(role.rng.uniform(5, 30), PASSKEY, Data("", challenge))
    yield Step(role.rng.uniform(5, 30), CONFIRMATION, Data("", (("code", f"{role.rng.randrange(10_000):04d}"),)))
    yield Step(role.rng.uniform(2, 30), WORKING)


def with_spurious_stops(steps: Iterable[Step]) -> Iterator[Step]:
    """The same as WAHA up to 2026.1.1 sends it: a new engine object reports STOPPED just before it starts."""
    for step in steps:
        if step.boot:
            yield replace(step, status=STOPPED)
            yield Step(SPURIOUS_STOP, step.status)
        else:
            yield step


def scheduled(cues: Iterable[tuple[float, Iterable[Step]]]) -> Iterator[Step]:
    """Stories one after another, each beginning at its virtual second or when the one before has ended."""
    elapsed = 0.0
    for start, steps in cues:
        pause = max(0.0, start - elapsed)
        for step in steps:
            later = replace(step, after=step.after + pause)
            pause = 0.0
            elapsed += later.after
            yield later
