"""What the probes of one session have shown: whether WhatsApp itself answers through it."""

import msgspec

ENOUGH = 2  # failed probes in a row


class Probe(msgspec.Struct, frozen=True, gc=False):
    """The last probe: when it was asked (Unix ms), and how long it took. `failures` in a row began at `failing`."""

    at: int
    took_ms: int
    failures: int = 0
    failing: int = 0

    @property
    def unresponsive(self) -> int:
        """Since when WhatsApp has not answered, 0 if it has or if one failure proves nothing yet."""
        return self.failing if self.failures >= ENOUGH else 0

    def followed(self, at: int, took_ms: int, *, answered: bool) -> "Probe":
        """The next one, after this."""
        return Probe(at, took_ms) if answered else Probe(at, took_ms, self.failures + 1, self.failing or at)
