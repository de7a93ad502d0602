"""What sessions receive and send: how many messages an hour, and what becomes of the sent ones."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from wawp_exporter.simulator.plan import Message, Role, Talk, dice

HOUR = 3600.0
BOOTED = 20.0  # no message comes or goes before all sessions are up
ACK = (0.5, 2.0)  # seconds from a message to its acknowledgement by WhatsApp's server


def usual(_: Role) -> tuple[Talk, ...]:
    """As ever."""
    return (Talk(BOOTED),)


def zombie(role: Role) -> tuple[Talk, ...]:
    """In the second half nothing comes, and nothing that is sent arrives."""
    return (Talk(BOOTED), Talk(role.duration / 2, received=0, acknowledged=False))


def half_dead(role: Role) -> tuple[Talk, ...]:
    """In the second half nothing comes; what is sent arrives."""
    return (Talk(BOOTED), Talk(role.duration / 2, received=0))


def holiday(role: Role) -> tuple[Talk, ...]:
    """In the second half a tenth comes and goes."""
    return (Talk(BOOTED), Talk(role.duration / 2, received=6, sent=3))


def messages(role: Role, talks: tuple[Talk, ...], seed: int) -> list[Message]:
    """All messages of a session, and their acknowledgements, in time order."""
    found: list[Message] = []
    rng = dice(seed, "talk", role.session)
    for talk, after in pairwise([*talks, Talk(role.duration)]):
        for own, rate in ((False, talk.received), (True, talk.sent)):
            for at in instants(rng.expovariate, rate, talk.since, after.since):
                key = f"{rng.getrandbits(64):016X}"
                found.append(Message(role.session, role.engine, round(at * 1000), key, own))
                if own and talk.acknowledged:
                    acked = round((at + rng.uniform(*ACK)) * 1000)
                    found.append(Message(role.session, role.engine, acked, key, own, acknowledges=True))
    return sorted(found, key=lambda message: message.at_ms)


def instants(gap: Callable[[float], float], rate: float, start: float, end: float) -> Iterator[float]:
    """When messages come that are `rate` an hour, independent of each other."""
    at = start + gap(rate / HOUR) if rate else end
    while at < end:
        yield at
        at += gap(rate / HOUR)
