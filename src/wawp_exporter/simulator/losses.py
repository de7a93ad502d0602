"""Stories of lost connections: crashes, networks that are down, restarts, and accounts that WhatsApp limits."""

from collections.abc import Iterator

from wawp_exporter.simulator.pieces import (
    BOOT,
    NOWEB_ATTEMPTS,
    boot,
    capping,
    crashes,
    disconnected,
    outage,
    reconnects,
    restarted,
    rising,
    scheduled,
    timelock,
)
from wawp_exporter.simulator.plan import FAILED, STARTING, STOPPED, WORKING, Role, Step


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
    """Reports STARTING once, and nothing until it is back after `duration`."""
    yield from rising(role)
    yield from outage(role, 30, role.duration)


def stuck_start(role: Role) -> Iterator[Step]:
    """STARTING, and nothing after it."""
    yield Step(role.rng.uniform(0, 5), STARTING, boot=True)


def disconnect(role: Role) -> Iterator[Step]:
    """Wawp's DISCONNECTED for `duration`, then a start of its own."""
    yield from rising(role)
    yield from disconnected(role, 30, role.duration)


def mass_disconnect(role: Role) -> Iterator[Step]:
    """Lost within the same minute, back after `duration`."""
    yield from rising(role)
    yield from outage(role, 30 + role.rng.uniform(0, 60), role.duration)


def restart(role: Role) -> Iterator[Step]:
    """One restart by API."""
    yield from rising(role)
    yield from restarted(role, 30)


def restart_loop(role: Role) -> Iterator[Step]:
    """Somebody, or something, restarts it every minute for `duration`."""
    yield from rising(role)
    for _ in range(max(1, int(role.duration / 60))):
        yield from restarted(role, role.rng.uniform(35, 50))


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
