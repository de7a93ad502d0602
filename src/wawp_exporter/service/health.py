"""Whether the service can be relied on (`/-/ready`), and whether it has to be restarted (`/-/healthy`)."""

from wawp_exporter.service.parts import Parts
from wawp_exporter.service.upkeep import Upkeep

STUCK_S = 30  # a write that takes longer makes the service unready


class Health:
    """What is wrong with the running service, if anything."""

    def __init__(self, parts: Parts, upkeep: Upkeep) -> None:
        self._parts = parts
        self._upkeep = upkeep

    @property
    def unready(self) -> str:
        """Why answers can be wrong or events be refused now, "" if the service is ready."""
        if not self._parts.ingest.healthy:
            return "the event log cannot be written"
        # `beat` is a small write. When it takes this long, the writer is stuck, although it has refused nothing yet.
        if self._upkeep.running_for("beat") > STUCK_S:
            return f"the event log has not answered for {STUCK_S} s"
        follower = self._parts.follower
        if follower and not follower.ready:
            return "the event log cannot be followed, so that answers are out of date"
        return ""

    @property
    def ended(self) -> list[str]:
        """The parts that should run until a stop but have ended by a defect: only a new process brings them back."""
        if self._parts.stopping:
            return []
        follower = self._parts.follower
        parts = {"upkeep": not self._upkeep.alive, "following the log": bool(follower and follower.ended)}
        gateways = [f"gateway of {name}" for name in self._parts.watch.ended]
        return [name for name, has_ended in parts.items() if has_ended] + gateways
