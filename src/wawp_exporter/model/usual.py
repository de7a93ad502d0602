"""The usual change of a session: one from which nothing follows yet. It is most of what the judge hears, and costs a
third of the whole judgement, with the same result.
"""

from wawp_exporter.model.case import FAILED, Case, Spell
from wawp_exporter.model.event import STARTING, STOPPED, WORKING, Status
from wawp_exporter.model.facts import Facts
from wawp_exporter.model.limits import Constants
from wawp_exporter.model.reasons import stronger

WHOLE = 0  # the whole judgement is needed


def alike(before: Facts, after: Facts) -> bool:
    """Whether a session surely stays one of those of its engine that shares are taken of."""
    return (
        before.engine == after.engine
        and before.state.status is not STOPPED
        and after.state.status is not STOPPED
        and not (before.maintenance or after.maintenance)
    )


def usual(case: Case, facts: Facts) -> bool:
    """Whether a session is, and was, without all that needs the whole judgement."""
    state = facts.state
    status = state.status
    return (
        (state.down_since > 0 if status is STARTING or status is FAILED else status is WORKING and not state.down_since)
        and not (case.problems or case.login or case.restrictions or case.excused or case.unresponsive)
        and not (case.unacknowledged or case.quiet)
        and not (state.auth_since or facts.restrictions or facts.limits.silent)
        and not (facts.maintenance or case.facts.maintenance)
    )


def take(case: Case, facts: Facts, now: int, constants: Constants) -> int:
    """Takes the facts of a `usual` session that is part of no loss, if nothing follows from them at `now` (Unix ms).

    Returns when to look again; WHOLE if something follows: then the case is as it was.
    """
    status, since = facts.state.status, facts.state.since
    since = since if since < now else now
    window, again = constants.flap_window_ms, since + constants.flap_window_ms
    flaps, flaps_learned, learned = case.flaps, case.flaps_learned, case.learned
    times: tuple[int, ...] = ()
    if status is not case.facts.state.status:
        times, learned = entries(case, status, since, constants.flap_entries), now
    if len(times) == constants.flap_entries and now - times[0] < window:
        if not flaps:
            flaps, flaps_learned = times[0], now
        again = min(times[0] + window, flaps_learned + constants.settle_ms)
    elif flaps:
        return WHOLE  # it may be over
    spell, alone = None, case.alone
    if status is not WORKING:
        spell, alone = fallen(case, facts, now)
        counts = due(spell, facts, since, learned, alone, constants)
        again = counts if counts < again else again
    if again <= now:
        # The window of an entry of long ago is over, which alone means nothing.
        if flaps or spell:
            return WHOLE
        again = now + 1
    case.facts, case.since, case.learned, case.alone, case.spell = facts, since, learned, alone, spell
    case.flaps, case.flaps_learned = flaps, flaps_learned
    case.heard = facts.heard if facts.heard > case.heard else case.heard
    if times:
        case.entries[status] = times
    return again


def entries(case: Case, status: Status, since: int, most: int) -> tuple[int, ...]:
    """The newest entries of a status, this one included."""
    known = case.entries.get(status, ())
    return (*known[-most + 1 :], since) if len(known) >= most else (*known, since)


def fallen(case: Case, facts: Facts, now: int) -> tuple[Spell, int]:
    """The down spell with these facts, and since when it may be a problem on its own."""
    state, old = facts.state, case.spell
    failed = state.status is FAILED
    if old:
        reason = stronger(old.reason, facts.reason)
        return Spell(old.since, old.lost_at, old.failed or failed, old.disconnected, reason, old.restricted), case.alone
    since = state.down_since if state.down_since < now else now
    left = state.left_working if state.worked and state.left_working else since
    left = left if left < now else now
    return Spell(since, left, failed, reason=facts.reason), now


def due(spell: Spell, facts: Facts, since: int, learned: int, alone: int, constants: Constants) -> int:
    """When the spell begins to count, or a problem of it is to be exported, if nothing changes."""
    limits, settle = facts.limits, constants.settle_ms
    limit = limits.failed if facts.state.status is FAILED else limits.starting
    # Not `min` and `max`, which would take as long as all of the rest.
    stuck, down = since + limit, spell.since + limits.down
    stuck, down = stuck if stuck > learned else learned, down if down > alone else alone
    first = (stuck if stuck < down else down) + settle
    if not facts.state.worked:
        return first
    if spell.disconnected:
        return min(first, spell.lost_at)
    counts = spell.lost_at + (min(limits.failed, limits.starting) if spell.failed else limits.starting)
    return counts if counts < first else first
