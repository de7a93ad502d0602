"""`scenario(name, …) → Plan`: the named scenarios, and how a plan is made of one; pure, deterministic by seed."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from wawp_exporter.errors import WawpExporterError
from wawp_exporter.simulator.logins import (
    first_pairing,
    forgotten,
    logout,
    mass_reauth,
    passkey_pairing,
    phone_unlinked,
    qr_answered,
    relogin,
    unlinked,
    unscanned_qr,
)
from wawp_exporter.simulator.losses import (
    account_restricted,
    disconnect,
    gateway_shutdown,
    gows_drop,
    mass_disconnect,
    noweb_drop,
    reconnect_storm,
    restart,
    restart_loop,
    stuck_start,
    webjs_crash,
    webjs_crash_loop,
)
from wawp_exporter.simulator.pieces import (
    disconnected,
    outage,
    restarted,
    rising,
    scheduled,
    stop,
    unanswered,
    with_spurious_stops,
)
from wawp_exporter.simulator.plan import (
    BROWSERS,
    FAILED,
    SCAN,
    STARTING,
    WORKING,
    Emission,
    Message,
    Plan,
    Point,
    Role,
    Scenario,
    Step,
    Story,
    dice,
)
from wawp_exporter.simulator.talks import half_dead, holiday, messages, usual, zombie


class UnknownScenario(WawpExporterError):
    """No scenario has this name."""

    exit_status = 2


# Stories: what a session of each scenario lives through


def steady(role: Role) -> Iterator[Step]:
    """Boots, then heartbeats until `duration` has passed."""
    yield from rising(role)
    if role.heartbeat > 0:
        yield from (Step(role.heartbeat, WORKING) for _ in range(int(role.duration / role.heartbeat)))


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


HOUR, DAY = 3600.0, 86_400.0


def month(role: Role) -> Iterator[Step]:
    """Losses of its own, two that half of all share, for some one a week at the same hour; two are down at the end."""
    rng, end = role.rng, role.duration
    cues: list[tuple[float, Iterable[Step]]] = [(0, rising(role))]
    times = [rng.uniform(HOUR, end - 3 * HOUR) for _ in range(rng.randint(2, 7))]
    cues += [(at, brief(role, rng.choice((30, 90, 300, 1200)))) for at in times]
    if role.index % 2 == 0:
        cues += [(end * part + rng.uniform(0, 60), brief(role, 600)) for part in (0.37, 0.72)]
    if role.index % 5 == 1:
        weeks = range(int(end // (7 * DAY)))
        cues += [(end - (7 * week + 2.4) * DAY, restarted(role, rng.uniform(0, 60))) for week in weeks]
    if role.index % 4 == 2:
        cues.append((rng.uniform(DAY, end - DAY), relogin(role, 90)))
    if role.index in ENDS:
        cues.append((end - 40 * 60, ENDS[role.index](role)))
    return scheduled(sorted(cues, key=lambda cue: cue[0]))


def brief(role: Role, lasting: float) -> Iterator[Step]:
    """A loss in few events: a browser that crashes every three seconds would be most of a month."""
    return disconnected(role, 0, lasting) if role.engine in BROWSERS else outage(role, 0, lasting)


ENDS: dict[int, Story] = {
    3: lambda _: iter([Step(0, FAILED)]),
    6: lambda role: chain(stop(role, 0), unanswered(role)),
}

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
    Scenario("zombie", "one says WORKING, but nothing comes or goes", steady, share=0, duration=900, talks=zombie),
    Scenario(
        "half-dead", "one says WORKING and sends, but nothing comes", steady, share=0, duration=900, talks=half_dead
    ),
    Scenario("quiet-holiday", "all get a tenth of their messages: no trouble", steady, duration=900, talks=holiday),
    Scenario("gateway-killed", "the gateway dies while WORKING: silence", steady),
    Scenario("gateway-shutdown", "STOPPED for all, boot 40 s later", gateway_shutdown),
    Scenario("load", "a transition of every session every second, at full pace", load, duration=10, pace=0),
    Scenario("month", "a month that ends now, with a bit of everything", month, duration=30 * DAY, pace=0, past=True),
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
    as_sent = with_spurious_stops if spurious_stops else iter
    emissions: list[Emission] = []
    said: list[Message] = []
    for index, (session, engine) in enumerate(fleet.items()):
        role = Role(session, index, engine, dice(seed, name, session), lasting, heartbeat)
        story = play.story if session in troubled else steady
        emissions.extend(weave(role, as_sent(story(role))))
        if play.talks:
            said.extend(messages(role, (play.talks if session in troubled else usual)(role), seed))
    for events in (emissions, said):
        events.sort(key=lambda event: (event.at_ms, event.session))
    return Plan(name, seed, fleet, tuple(emissions), spurious_stops, tuple(said))


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
