"""`scenario(name, …) → Plan`: which session says what when, as its engine would; pure, deterministic by seed.

Times are virtual seconds since the start of the plan. The sequences are those of captures of WAHA 2026.2.1 and,
where an engine could not be captured (GOWS, WPP), of its source.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from random import Random

from wawp_exporter.errors import WawpExporterError

STARTING, SCAN, WORKING, FAILED = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED"
STOPPED, DISCONNECTED = "STOPPED", "DISCONNECTED"
PASSKEY, CONFIRMATION = "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"

# Seconds from STARTING to WORKING with stored auth, and from STARTING to the first QR image.
BOOT = {"GOWS": (1.0, 3.0), "NOWEB": (2.0, 4.3), "WEBJS": (5.0, 15.0), "WPP": (5.0, 15.0)}
FIRST_QR = {"GOWS": 1.0, "NOWEB": 2.0, "WEBJS": 6.0, "WPP": 6.0}
ENGINES = tuple(BOOT)
BROWSERS = frozenset({"WEBJS", "WPP"})  # the engines that restart themselves 2 s after FAILED
QR_SHOWN = (0, 60, 80, 100, 120, 140)  # seconds after the first image; the last one ends at QR_END
QR_END = 160.0
NOWEB_RETRY = 2.006
NOWEB_ATTEMPTS = 60
SPURIOUS_STOP = 0.009  # seconds from the STOPPED that WAHA up to 2026.1.1 sends before each start


class UnknownScenario(WawpExporterError):
    """No scenario has this name."""

    exit_status = 2


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
class Plan:
    """All emissions in time order; two of one session are at least a millisecond apart."""

    name: str
    seed: int
    engines: Mapping[str, str]
    emissions: tuple[Emission, ...]
    spurious_stops: bool = False

    @property
    def length(self) -> float:
        """Virtual seconds until the last emission."""
        return self.emissions[-1].at if self.emissions else 0.0


@dataclass(frozen=True, slots=True)
class Role:
    """What a story knows: its session, its own random numbers, and how many seconds the trouble lasts."""

    session: str
    index: int
    engine: str
    rng: Random
    duration: float
    heartbeat: float


Story = Callable[[Role], Iterator[Step]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`share` of the sessions lives through `story` (0: exactly one), the others through `steady`.

    `duration` is the default length of the trouble in seconds, `pace` the default pace; `engine` is what all
    sessions have, if the story is about one.
    """

    name: str
    summary: str
    story: Story
    engine: str | None = None
    share: float = 1.0
    duration: float = 120.0
    pace: float = 1.0


# Pieces of stories


def boot(role: Role, after: float = 0.0) -> Iterator[Step]:
    """A start with stored auth."""
    yield Step(after, STARTING, boot=True)
    yield Step(role.rng.uniform(*BOOT[role.engine]), WORKING)


def rising(role: Role) -> Iterator[Step]:
    """Boots within the first seconds; what follows comes by itself."""
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
    """No network for `lasting` s, as each engine tells it; somebody restarts a NOWEB that gave up."""
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
    """Wawp's own word for a lost session, until it starts again."""
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
    """The same as WAHA up to 2026.1.1 tells it: a new engine object says STOPPED just before it starts."""
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


# Stories: what a session of each scenario lives through


def steady(role: Role) -> Iterator[Step]:
    """Boots, then heartbeats until `duration` has passed."""
    yield from rising(role)
    if role.heartbeat > 0:
        yield from (Step(role.heartbeat, WORKING) for _ in range(int(role.duration / role.heartbeat)))


def first_pairing(role: Role) -> Iterator[Step]:
    """A new session, scanned within two minutes."""
    yield Step(role.rng.uniform(0, 5), STARTING, boot=True)
    yield from answered(role, role.rng.uniform(5, 120))


def passkey_pairing(role: Role) -> Iterator[Step]:
    """A new session that shows one QR image; whoever scans it must have a passkey too."""
    yield Step(role.rng.uniform(0, 5), STARTING, boot=True)
    yield Step(FIRST_QR[role.engine], SCAN)
    yield from passkey(role)


def unscanned_qr(role: Role) -> Iterator[Step]:
    """A new session that nobody scans; a browser engine starts over once more."""
    yield Step(role.rng.uniform(0, 5), STARTING, boot=True)
    yield from unanswered(role)
    if role.engine in BROWSERS:
        yield Step(2.0, STARTING)
        yield from unanswered(role)


def qr_answered(role: Role) -> Iterator[Step]:
    """Lost its login, waits `duration` s (at most 150) for a scan, gets it."""
    yield from rising(role)
    yield from stop(role, 30)
    yield from answered(role, min(role.duration, 150.0))


def logout(role: Role) -> Iterator[Step]:
    """Logged out by API: STOPPED, STARTING, and QR images nobody scans."""
    yield from rising(role)
    yield from stop(role, 30)
    yield from unanswered(role)


def reconnect_storm(role: Role) -> Iterator[Step]:
    """STARTING every 2 s, 60 times, then FAILED for good."""
    yield from rising(role)
    yield from reconnects(30, NOWEB_ATTEMPTS)


def noweb_drop(role: Role) -> Iterator[Step]:
    """A few reconnects, then WORKING again."""
    yield from rising(role)
    yield from reconnects(30, role.rng.randint(1, 10))
    yield Step(role.rng.uniform(*BOOT["NOWEB"]), WORKING)


def webjs_crash(role: Role) -> Iterator[Step]:
    """The browser dies and is restarted after 2 s."""
    yield from rising(role)
    yield Step(30, FAILED)
    yield Step(2.0, STARTING)
    yield Step(role.rng.uniform(*BOOT["WEBJS"]), WORKING)


def webjs_crash_loop(role: Role) -> Iterator[Step]:
    """The browser dies again and again and never comes back within `duration`."""
    yield from rising(role)
    yield from crashes(role, 30, role.duration)


def gows_drop(role: Role) -> Iterator[Step]:
    """Says STARTING once and nothing until it is back after `duration`."""
    yield from rising(role)
    yield from outage(role, 30, role.duration)


def stuck_start(role: Role) -> Iterator[Step]:
    """STARTING, and not a word more."""
    yield Step(role.rng.uniform(0, 5), STARTING, boot=True)


def disconnect(role: Role) -> Iterator[Step]:
    """Wawp's DISCONNECTED for `duration`, then a start of its own."""
    yield from rising(role)
    yield from disconnected(role, 30, role.duration)


def mass_disconnect(role: Role) -> Iterator[Step]:
    """Lost within the same minute, back after `duration`."""
    yield from rising(role)
    yield from outage(role, 30 + role.rng.uniform(0, 60), role.duration)


def mass_reauth(role: Role) -> Iterator[Step]:
    """Wants a QR scan within the same minute as many others, and gets one by and by."""
    yield from rising(role)
    yield Step(30 + role.rng.uniform(0, 60), STARTING, boot=True)
    yield from answered(role, role.rng.uniform(30, 150))


def restart(role: Role) -> Iterator[Step]:
    """One restart by API."""
    yield from rising(role)
    yield from restarted(role, 30)


def restart_loop(role: Role) -> Iterator[Step]:
    """Somebody, or something, restarts it every minute for `duration`."""
    yield from rising(role)
    for _ in range(max(1, int(role.duration / 60))):
        yield from restarted(role, role.rng.uniform(35, 50))


def phone_unlinked(role: Role) -> Iterator[Step]:
    """Unlinked on the phone: FAILED for good; WEBJS says it twice."""
    yield from rising(role)
    yield Step(30, FAILED)
    if role.engine == "WEBJS":
        yield Step(0.007, FAILED)


def account_restricted(role: Role) -> Iterator[Step]:
    """WORKING all along, under a timelock of `duration`, then with its quota used up until the next cycle."""
    yield from boot(role)
    begin, end = 60.0, 60.0 + role.duration
    yield Step(begin, WORKING, timelock(True, end))
    yield Step(role.duration, WORKING, timelock(False, end))
    yield Step(30, WORKING, capping("FIRST_WARNING", 800))
    yield Step(30, WORKING, capping("CAPPED", 1000))
    yield Step(role.duration, WORKING, capping("NONE", 0))


def gateway_shutdown(role: Role) -> Iterator[Step]:
    """STOPPED all at once, and a boot 40 s later."""
    yield from scheduled([(0, rising(role)), (60, [Step(role.rng.uniform(0, 0.05), STOPPED)])])
    yield from boot(role, 40 + role.rng.uniform(0, 5))


def load(role: Role) -> Iterator[Step]:
    """A transition every virtual second for `duration`."""
    yield Step(role.rng.uniform(0, 1), STARTING, boot=True)
    for second in range(1, int(role.duration)):
        yield Step(1.0, STARTING if second % 2 == 0 else WORKING)


def day(role: Role) -> Iterator[Step]:
    """An hour: each of the first ten sessions has a trouble of its own, half of all share the last one."""
    cues: list[tuple[float, Iterable[Step]]] = [(0, rising(role))]
    if role.index < len(TROUBLES):
        start, trouble = TROUBLES[role.index]
        cues.append((start, trouble(role)))
    if role.index % 2 == 0:
        cues.append((3000 + role.rng.uniform(0, 60), outage(role, 0, 180)))
    return scheduled(cues)


def relogin(role: Role, wait: float) -> Iterator[Step]:
    """A login is lost and given back `wait` s after the first image."""
    return chain(stop(role, 0), answered(role, wait))


def forgotten(role: Role) -> Iterator[Step]:
    """A QR that nobody scans until the images run out; somebody comes five minutes later."""
    return chain(stop(role, 0), unanswered(role), stop(role, 300), answered(role, 20))


def unlinked(role: Role) -> Iterator[Step]:
    """Unlinked on the phone; somebody restarts it and scans."""
    return chain([Step(0, FAILED)], stop(role, 120), answered(role, 70))


TROUBLES: tuple[tuple[float, Story], ...] = (
    (300, lambda role: restarted(role, 0)),
    (420, lambda role: relogin(role, 90)),
    (900, lambda role: outage(role, 0, 120)),
    (1000, lambda role: outage(role, 0, 4)),
    (1200, lambda role: disconnected(role, 0, 180)),
    (1380, lambda role: chain([Step(0, STARTING)], restarted(role, 300))),
    (1560, lambda role: chain(*(restarted(role, 45) for _ in range(6)))),
    (2100, lambda role: islice(account_restricted(role), 2, None)),
    (2280, forgotten),
    (2700, unlinked),
)


CATALOGUE = (
    Scenario("steady", "the fleet boots, then only heartbeats", steady, duration=600),
    Scenario("first-pairing", "new sessions, QR scanned within two minutes", first_pairing),
    Scenario("passkey-pairing", "QR scanned, then a passkey and a code to compare", passkey_pairing, "GOWS"),
    Scenario("unscanned-qr", "new sessions, six QR images nobody scans, FAILED", unscanned_qr),
    Scenario("qr-answered", "a login is lost; the QR is scanned in time", qr_answered, duration=90),
    Scenario("logout", "logged out by API; the new QR is left alone", logout),
    Scenario("noweb-reconnect-storm", "STARTING every 2 s, 60 times, then FAILED", reconnect_storm, "NOWEB"),
    Scenario("noweb-drop", "STARTING one to ten times, then WORKING", noweb_drop, "NOWEB"),
    Scenario("webjs-crash", "FAILED, restarted after 2 s, WORKING", webjs_crash, "WEBJS"),
    Scenario("webjs-crash-loop", "FAILED 2 s, STARTING 0.5 s, again", webjs_crash_loop, "WEBJS", duration=600),
    Scenario("gows-drop", "STARTING once until the network is back", gows_drop, "GOWS"),
    Scenario("stuck-start", "one session is STARTING and nothing more", stuck_start, share=0),
    Scenario("single-disconnect", "one session is DISCONNECTED (Wawp), then recovers", disconnect, share=0),
    Scenario("mass-disconnect", "half the fleet loses its network", mass_disconnect, share=0.5, duration=300),
    Scenario("mass-reauth", "half the fleet wants a QR scan at once", mass_reauth, share=0.5),
    Scenario("restart", "restarted by API: STOPPED 3 to 13 s, STARTING, WORKING", restart),
    Scenario("restart-loop", "one session is restarted every minute", restart_loop, share=0, duration=600),
    Scenario("phone-unlinked", "one is unlinked on the phone: FAILED for good", phone_unlinked, share=0),
    Scenario("account-restricted", "WORKING under a timelock, then capped", account_restricted, duration=300),
    Scenario("gateway-killed", "the gateway dies while WORKING: silence", steady),
    Scenario("gateway-shutdown", "STOPPED for all, boot 40 s later", gateway_shutdown),
    Scenario("load", "a transition of every session every second, at full pace", load, duration=10, pace=0),
    Scenario("day-in-the-life", "an hour with a bit of everything, in two minutes", day, pace=30),
)


# From stories to a plan


def find(name: str) -> Scenario:
    """The scenario of this name. Raises UnknownScenario."""
    for known in CATALOGUE:
        if known.name == name:
            return known
    raise UnknownScenario(f"no scenario is called {name!r}; there are {', '.join(s.name for s in CATALOGUE)}")


def scenario(
    name: str,
    seed: int = 0,
    *,
    sessions: int = 10,
    engines: Mapping[str, float] | None = None,
    share: float | None = None,
    duration: float | None = None,
    heartbeat: float = 60.0,
    prefix: str = "session-",
    spurious_stops: bool = False,
) -> Plan:
    """The plan of a named scenario; equal arguments give an equal plan.

    `engines` are weights, `share` is the part of each engine's sessions that is in trouble (at least one in all),
    `duration` how long that lasts and `heartbeat` the time between heartbeats (0: none), in virtual seconds.
    `spurious_stops`: as WAHA up to 2026.1.1, which says STOPPED before each start. Raises UnknownScenario.
    """
    play = find(name)
    fleet = cast(sessions, {play.engine: 1.0} if play.engine else engines or {"GOWS": 1.0}, prefix)
    troubled = in_trouble(fleet, play.share if share is None else share)
    lasting = play.duration if duration is None else duration
    told = with_spurious_stops if spurious_stops else iter
    emissions: list[Emission] = []
    for index, (session, engine) in enumerate(fleet.items()):
        role = Role(session, index, engine, dice(seed, name, session), lasting, heartbeat)
        story = play.story if session in troubled else steady
        emissions.extend(weave(role, told(story(role))))
    emissions.sort(key=lambda emission: (emission.at_ms, emission.session))
    return Plan(name, seed, fleet, tuple(emissions), spurious_stops)


def dice(*parts: object) -> Random:
    """Random numbers of their own for each purpose: one more session changes nothing for the others."""
    return Random("/".join(map(str, parts)))  # noqa: S311 - a repeatable play, no secret


def cast(sessions: int, weights: Mapping[str, float], prefix: str) -> dict[str, str]:
    """Session → engine, the engines spread evenly by weight."""
    width = max(3, len(str(sessions)))
    given = dict.fromkeys(weights, 0)
    fleet = {}
    for number in range(1, sessions + 1):
        engine = max(given, key=lambda name: weights[name] / (given[name] + 1))
        given[engine] += 1
        fleet[f"{prefix}{number:0{width}d}"] = engine
    return fleet


def in_trouble(fleet: Mapping[str, str], share: float) -> set[str]:
    """The first sessions of each engine, `share` of them; one of all if that is none."""
    chosen: set[str] = set()
    for engine in set(fleet.values()):
        members = [session for session, its in fleet.items() if its == engine]
        chosen.update(members[: round(share * len(members))])
    return chosen or set(islice(fleet, 1))


def weave(role: Role, steps: Iterable[Step]) -> Iterator[Emission]:
    """Steps → emissions: absolute times, the history of the last three points, who is logged in."""
    elapsed, last, paired, before = 0.0, -1, False, ""
    history: tuple[Point, ...] = ()
    for step in steps:
        elapsed += step.after
        last = max(round(elapsed * 1000), last + 1)
        history = (*(() if step.boot else history[-2:]), Point(step.status, last))
        paired = knows_account(role.engine, step, before, paired)
        lag = role.rng.randint(1, 8) if role.rng.random() < 0.25 else 0
        yield Emission(role.session, role.engine, step.status, history, step.data, paired, lag)
        before = step.status


def knows_account(engine: str, step: Step, before: str, paired: bool) -> bool:
    """Whether `me` is filled: lost with the engine object, a browser's STARTING and a QR wait; else kept."""
    if step.boot:
        return False
    if step.status == STARTING:
        return engine not in BROWSERS and (paired or before == SCAN)
    return step.status == WORKING or (paired and step.status != SCAN)
