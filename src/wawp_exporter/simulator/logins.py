"""Stories of logins: pairings, lost logins, QR images that somebody scans or nobody does."""

from collections.abc import Iterator
from itertools import chain

from wawp_exporter.simulator.pieces import FIRST_QR, answered, passkey, rising, stop, unanswered
from wawp_exporter.simulator.plan import BROWSERS, FAILED, SCAN, STARTING, Role, Step


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


def mass_reauth(role: Role) -> Iterator[Step]:
    """Wants a QR scan within the same minute as many others, and gets one by and by."""
    yield from rising(role)
    yield Step(30 + role.rng.uniform(0, 60), STARTING, boot=True)
    yield from answered(role, role.rng.uniform(30, 150))


def phone_unlinked(role: Role) -> Iterator[Step]:
    """Unlinked on the phone: FAILED for good; WEBJS says it twice."""
    yield from rising(role)
    yield Step(30, FAILED)
    if role.engine == "WEBJS":
        yield Step(0.007, FAILED)


def relogin(role: Role, wait: float) -> Iterator[Step]:
    """A login is lost and given back `wait` s after the first image."""
    return chain(stop(role, 0), answered(role, wait))


def forgotten(role: Role) -> Iterator[Step]:
    """A QR that nobody scans until the images run out; somebody comes five minutes later."""
    return chain(stop(role, 0), unanswered(role), stop(role, 300), answered(role, 20))


def unlinked(role: Role) -> Iterator[Step]:
    """Unlinked on the phone; somebody restarts it and scans."""
    return chain([Step(0, FAILED)], stop(role, 120), answered(role, 70))
