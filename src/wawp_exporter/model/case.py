"""What the judge remembers of one session, and how events and time change it. Pure: facts and an instant go in."""

from collections.abc import Iterator

import msgspec

from wawp_exporter.model.event import STARTING, STOPPED, UNKNOWN, WORKING, Status
from wawp_exporter.model.facts import Facts, Problem, Restricted
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.reasons import Reason, stronger
from wawp_exporter.model.rules import Key

NEVER = 1 << 62

FAILED, DISCONNECTED = Status.FAILED, Status.DISCONNECTED
DOWN = frozenset({STARTING, FAILED, DISCONNECTED})  # what a session that is lost may be in, logins apart
FLAPS = DOWN | {WORKING}  # entries to these are counted; each loop of a gateway passes through one of them


DATED = (
    "learned",
    "excused",
    "login_learned",
    "flaps_learned",
    "quiet_learned",
    "unacknowledged_learned",
    "alone",
)  # by the clock, not a gateway


class Spell(msgspec.Struct, array_like=True):
    """A down episode as the judge sees it: short spells of WORKING and restarts do not end it.

    `since` is the begin of the episode; `lost_at` is when WORKING was left, or the end of the maintenance that excused
    it. `reason` is the strongest that the gateway gave in it: a short WORKING does not take it away. `restricted`: a
    restriction began shortly before; that explains the loss also after the end of the restriction.
    """

    since: int
    lost_at: int
    failed: bool = False
    disconnected: bool = False
    reason: str = ""
    restricted: bool = False


class Case(msgspec.Struct, array_like=True):
    """What the judge remembers of one session. A session that works and has nothing behind it has none.

    `since` is the entry into the status, `login` the begin of the login episode, neither after its receipt. Conditions
    settle from when the exporter learnt of them: `learned` of the status, `login_learned` of the login, `flaps_learned`
    of the entry that made it flapping (`flaps` is the first of those entries), `alone` of the spell, or of the end of
    the last problem that `down` yields to. The end of maintenance, or of an outage, counts as learning anew. `excused`
    is the end of the last maintenance. `unresponsive` is since when WhatsApp has not answered probes, 0 if it has.
    Messages are not in the log: `unacknowledged` is when the oldest own one was sent that is not acknowledged, `quiet`
    when the last one came if by its habit more should have come since, 0 otherwise. They are learnt at
    `unacknowledged_learned` and `quiet_learned`.
    """

    key: Key
    facts: Facts = Facts()
    since: int = 0
    learned: int = 0
    excused: int = 0
    login: int = 0
    login_learned: int = 0
    spell: Spell | None = None
    flaps: int = 0
    flaps_learned: int = 0
    entries: dict[Status, tuple[int, ...]] = {}
    restrictions: tuple[Restricted, ...] = ()
    heard: int = 0
    alone: int = 0
    problems: dict[Problem, int] = {}
    unresponsive: int = 0
    unacknowledged: int = 0
    quiet: int = 0
    quiet_learned: int = 0
    unacknowledged_learned: int = 0

    @property
    def status(self) -> Status:
        """The live status."""
        return self.facts.state.status

    def stay(self, status: Status) -> int:
        """Since when it is in this status, 0 if it is in another one."""
        return self.since if self.status is status else 0

    @property
    def hushed(self) -> int:
        """Since when nothing is heard of a session from which something should be, 0 for any other."""
        expected = self.facts.limits.silent and self.status in (WORKING, UNKNOWN) and not self.facts.maintenance
        return self.heard if expected else 0

    @property
    def unanswered(self) -> int:
        """Since when WhatsApp has not answered a session that says it is WORKING, 0 if it has."""
        return self.unresponsive if self.status in (WORKING, UNKNOWN) and not self.facts.maintenance else 0

    @property
    def silent_at(self) -> int:
        """When it becomes silent if nothing is heard, NEVER if it cannot."""
        return self.hushed + self.facts.limits.silent if self.hushed and self.status is WORKING else NEVER

    @property
    def muffled(self) -> int:
        """Since when it has been silent against its own habit, 0 if it is not."""
        same = self.status is UNKNOWN or (self.status is WORKING and self.since <= self.quiet)
        return self.quiet if same and not self.facts.maintenance else 0

    def undelivered(self, now: int, constants: Constants) -> int:
        """Since when an own message has not been acknowledged, although it is WORKING; 0 if none is missing."""
        if not (self.unacknowledged and self.facts.limits.undelivered and self.status in (WORKING, UNKNOWN)):
            return 0
        given_up = now >= self.unacknowledged + constants.unacknowledged_ms
        return 0 if given_up else max(self.unacknowledged, self.since)

    def silence(self, now: int) -> int:
        """When a silence began that is too long by `now`, 0 if there is none."""
        return self.muffled or (self.hushed if self.hushed + self.facts.limits.silent <= now else 0)

    @property
    def counts_at(self) -> int:
        """When its loss counts if nothing changes, NEVER if it does not.

        Not while it is WORKING, STOPPED or UNKNOWN, whatever was before; and not during a login episode: such a
        session waits for its manager, and is counted with the logins.
        """
        spell = self.spell
        if spell is None or not self.facts.state.worked or self.login or self.status not in DOWN:
            return NEVER
        if spell.disconnected:
            return spell.lost_at
        limits = self.facts.limits
        return spell.lost_at + (min(limits.failed, limits.starting) if spell.failed else limits.starting)

    def over_at(self, constants: Constants) -> int:
        """When what has begun is over if nothing changes: long enough WORKING, or STOPPED, NEVER otherwise."""
        if self.status is WORKING and self.spell:
            return self.since + constants.recovered_ms
        if self.status is STOPPED:
            return self.since + constants.restart_ms + 1  # a restart may take exactly that long
        return NEVER

    @property
    def cause(self) -> str:
        """Why it was lost: a restriction just before explains what the gateway does not."""
        if self.spell is None:
            return self.facts.reason
        unexplained = self.spell.reason in ("", Reason.OTHER)
        return Reason.RESTRICTED if unexplained and self.spell.restricted else self.spell.reason

    @property
    def idle(self) -> bool:
        """Whether nothing is remembered that a STOPPED could end."""
        return not (self.spell or self.login or self.entries or self.problems)

    @property
    def troubled(self) -> bool:
        """Whether any row of the table can apply."""
        begun = self.login or self.spell or self.flaps or self.restrictions
        return bool(begun or self.facts.limits.silent or self.unresponsive or self.unheard)

    @property
    def unheard(self) -> bool:
        """Whether messages are missing."""
        return self.unacknowledged > 0 or self.quiet > 0

    @property
    def forgettable(self) -> bool:
        """Whether the facts alone say as much."""
        waiting = self.facts.limits.silent and self.status in (WORKING, UNKNOWN)
        returning = self.excused and self.facts.state.left_working  # it may be lost since the end of its maintenance
        settled = self.facts.maintenance or self.status not in DOWN
        waits = waiting or returning or self.unresponsive or self.unheard
        return settled and self.idle and not (self.restrictions or waits)

    def rewind(self, now: int) -> None:
        """The clock was set back: nothing that it has dated is later than `now`."""
        for name in DATED:
            setattr(self, name, min(getattr(self, name), now))
        if self.spell:
            self.spell.lost_at = min(self.spell.lost_at, now)


# -- what an event means for a case ---------------------------------------------------------------------------------


def learn(case: Case, facts: Facts, now: int, constants: Constants, *, recount: bool = True) -> None:
    """Takes new facts. `recount` says whether entries count towards flapping."""
    before, case.facts = case.facts, facts
    state = facts.state
    entered = state.status is not before.state.status
    case.since = min(state.since, now)
    case.heard = max(case.heard, facts.heard)
    if state.status not in (WORKING, UNKNOWN):
        case.unresponsive = 0
    case.restrictions = tuple(since_first(case.restrictions, facts.restrictions))
    if before.maintenance and not facts.maintenance:
        case.excused = now
        relearn(case, now)
    elif entered:
        case.learned = now
    if facts.maintenance:
        excuse(case)
        return
    follow_login(case, now, constants)
    follow_spell(case, now, constants)
    if entered and recount and not case.login and state.status in FLAPS:
        enter(case, state.status, now, constants)


def relearn(case: Case, now: int) -> None:
    """What holds now is news again: it settles before it is exported."""
    case.learned = case.login_learned = case.quiet_learned = case.unacknowledged_learned = case.alone = now


def since_first(known: tuple[Restricted, ...], stated: tuple[Restricted, ...]) -> Iterator[Restricted]:
    """The restrictions as stated, each from the time at which it was first stated: gateways repeat them."""
    for limit in stated:
        begins = [old.since for old in known if old.problem is limit.problem]
        yield msgspec.structs.replace(limit, since=min([limit.since, *begins]))


def excuse(case: Case) -> None:
    """Maintenance ends what has begun; what is still broken at its end begins then."""
    case.spell, case.login = None, 0
    calm(case)


def calm(case: Case) -> None:
    """Forgets what counted towards flapping."""
    case.entries, case.flaps = {}, 0


def follow_login(case: Case, now: int, constants: Constants) -> None:
    """A login episode is the fold's, but a STOPPED that may be a restart does not end it."""
    state = case.facts.state
    login = min(state.auth_since, now)
    resting = state.status is STOPPED and now < case.since + constants.restart_ms + 1
    if not login and case.login and (resting or state.status is UNKNOWN):
        return
    if login and not case.login:
        case.login_learned = now
        calm(case)  # pairing passes through STARTING again and again
    case.login = login


def follow_spell(case: Case, now: int, constants: Constants) -> None:
    """A spell begins with the fold's down episode; short ones of WORKING or STOPPED are part of it."""
    state, spell = case.facts.state, case.spell
    if state.status in (UNKNOWN, WORKING, STOPPED) or not state.down_since:
        return
    if spell is None:
        since = min(state.down_since, now)
        left = state.left_working if state.worked and state.left_working else since
        case.spell = spell = Spell(since, max(min(left, now), case.excused))
        case.alone = now
    spell.reason = stronger(spell.reason, case.facts.reason)
    spell.restricted = spell.restricted or any(
        0 <= spell.lost_at - limit.since <= constants.restricted_ms for limit in case.restrictions
    )
    spell.failed = spell.failed or state.status is FAILED
    spell.disconnected = spell.disconnected or state.status is DISCONNECTED


def enter(case: Case, status: Status, now: int, constants: Constants) -> None:
    """Remembers the newest entries of a status, as many as make it flapping."""
    times = (*case.entries.get(status, ()), case.since)[-constants.flap_entries :]
    case.entries = case.entries | {status: times}
    if not case.flaps:
        case.flaps, case.flaps_learned = flapping_since(case, now, constants), now


def flapping_since(case: Case, now: int, constants: Constants) -> int:
    """The first of the entries that make it flapping."""
    first = [times[0] for times in case.entries.values() if len(times) == constants.flap_entries]
    return min((at for at in first if now - at < constants.flap_window_ms), default=0)


def lapse(case: Case, now: int, constants: Constants) -> None:
    """Ends what time alone ends: what `over_at` says, restrictions, and entries that are too long ago."""
    if now >= case.over_at(constants):
        case.spell = None
        if case.status is STOPPED:
            case.login = 0
            calm(case)
    if case.restrictions:
        case.restrictions = tuple(limit for limit in case.restrictions if limit.holds(now))
    old = [status for status, times in case.entries.items() if now - times[-1] >= constants.flap_window_ms]
    if old:
        case.entries = {status: times for status, times in case.entries.items() if status not in old}
    if case.flaps and not flapping_since(case, now, constants):
        case.flaps = 0


def turns(case: Case, constants: Constants) -> Iterator[int]:
    """The instants at which time alone changes what `lapse` and the counting of losses look at."""
    yield case.over_at(constants)
    if case.spell:
        yield case.counts_at
    if case.facts.limits.silent:
        yield case.silent_at
    if case.unacknowledged:
        yield case.unacknowledged + constants.unacknowledged_ms
    yield from (limit.until for limit in case.restrictions if limit.until)
    for times in case.entries.values():
        first = times[0] if len(times) == constants.flap_entries else times[-1]
        yield first + constants.flap_window_ms
