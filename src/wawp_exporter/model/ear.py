"""What a fleet says of events to whoever wants to know."""

from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session


class Ear:
    """Hears nothing. The instants are Unix ms."""

    def begin(self, key: Key, session: Session | None, now: int) -> None:
        """Something that was received at `now` is about to change a session, or to make one."""

    def note(self, session: Session, now: int) -> None:
        """A point of the event has changed the session."""

    def renew(self, session: Session, now: int) -> None:
        """The event has changed something else of the session."""

    def conclude(self, session: Session, now: int) -> None:
        """That was all of the event, which was received at `now`."""

    def tell(self, session: Session, now: int) -> None:
        """Something else about a session has changed."""

    def leave(self, key: Key, now: int) -> None:
        """A session is not there any more."""

    def end(self) -> None:
        """The judge hears of the fleet itself again, if it did not."""
