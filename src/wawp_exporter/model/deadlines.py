"""When time alone changes something: the instants at which the judge must look again, in a fixed order."""

import heapq
from typing import Generic, TypeVar

SPARE = 64
Name = TypeVar("Name", bound=tuple[object, ...])


class Deadlines(Generic[Name]):
    """Instants (Unix ms) by name; at one instant in the order of names.

    To look too early is harmless, so a later instant than the planned one is ignored: whoever is woken plans anew. What
    an earlier instant has replaced is thrown out once it is the larger part.
    """

    __slots__ = ("_heap", "_planned")

    def __init__(self) -> None:
        self._heap: list[tuple[int, Name]] = []
        self._planned: dict[Name, int] = {}

    def plan(self, when: int, name: Name) -> None:
        """Wakes `name` at `when`, or earlier if that was planned before."""
        planned = self._planned.get(name)
        if planned is None or when < planned:
            self._planned[name] = when
            heapq.heappush(self._heap, (when, name))
            if len(self._heap) > 2 * len(self._planned) + SPARE:
                self._heap = [(at, known) for known, at in self._planned.items()]
                heapq.heapify(self._heap)

    def due(self, now: int) -> bool:
        """Whether any instant has come, perhaps only a replaced one."""
        return bool(self._heap) and self._heap[0][0] <= now

    def __len__(self) -> int:
        """The instants that are held, replaced ones too."""
        return len(self._heap)

    @property
    def next(self) -> int | None:
        """The earliest instant, None without any."""
        while self._heap and self._planned.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # replaced by an earlier one, which has passed
        return self._heap[0][0] if self._heap else None

    def pop(self) -> tuple[int, Name]:
        """Takes the earliest instant; there must be one."""
        when, name = heapq.heappop(self._heap)
        del self._planned[name]
        return when, name
