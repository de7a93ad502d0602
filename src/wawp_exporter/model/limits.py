"""How long things may last: the limits of a session (configuration) and the constants of the judge. Times are ms."""

import msgspec

SECOND = 1000
MINUTE = 60 * SECOND


class Limits(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The thresholds of one session in ms, defaults and overrides merged; 0 for `silent` or `undelivered` is off."""

    starting: int = 60 * SECOND
    failed: int = 10 * SECOND
    qr_escalate: int = 5 * MINUTE
    qr_unattended: int = 60 * MINUTE
    down: int = 15 * MINUTE
    silent: int = 0
    undelivered: int = 5 * MINUTE

    def of(self, kind: str) -> int:
        """The limit of this name, 0 for the empty name."""
        return getattr(self, kind) if kind else 0


class Constants(msgspec.Struct, frozen=True):
    """Everything in the definitions of problems, losses and outages that is a number. Tests scale the times.

    `restart_ms` must equal `machine.RESTART_MS` where the scale is 1: the fold continues an episode by the same limit.
    """

    # Problems
    disconnected_settle_ms: int = 5 * SECOND
    settle_ms: int = 10 * SECOND  # of every other problem but `login`
    flap_entries: int = 4
    flap_window_ms: int = 15 * MINUTE
    restricted_ms: int = 10 * MINUTE  # a loss so soon after a restriction began is put down to it
    unacknowledged_ms: int = 24 * 60 * MINUTE  # then an own message without an acknowledgement is given up
    # Losses
    recovered_ms: int = 60 * SECOND  # of WORKING
    restart_ms: int = 30 * SECOND  # of STOPPED
    # Outages
    least: int = 3  # sessions, and sources
    share: float = 0.2
    burst_least: int = 25
    burst_share: float = 0.02
    burst_ms: int = 5 * MINUTE
    outage_settle_ms: int = 5 * SECOND
    low_share: float = 0.1
    low_ms: int = 3 * MINUTE

    def scaled(self, factor: float) -> "Constants":
        """The same with every time multiplied by `factor`."""
        times = {name: round(getattr(self, name) * factor) for name in self.__struct_fields__ if name.endswith("_ms")}
        return msgspec.structs.replace(self, **times)

    def burst_of(self, population: int) -> float:
        """How many losses within `burst_ms` are an outage, of so many sessions."""
        large = max(self.burst_least, self.burst_share * population)
        return max(self.least, min(self.share * population, large))

    def chain_of(self, population: int) -> float:
        """How many losses, each within `burst_ms` of the one before, are an outage, of so many sessions."""
        return max(self.least, self.share * population)

    def floor_of(self, largest: int) -> float:
        """With fewer sessions lost than this an outage of that largest size is about to end."""
        return max(self.least, self.low_share * largest)


CONSTANTS = Constants()
