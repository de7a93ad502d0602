"""Stories of a law: steps drawn one after another, and what must hold in the end."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random

Step = Callable[[], Awaitable[object]]


async def story(seed: int, draw: Random, kinds: Sequence[Step], steps: int, end: Step) -> None:
    """Takes so many steps of these kinds, then `end`; an error says which steps led to it."""
    said = []
    try:
        for _ in range(steps):
            step = draw.choice(kinds)
            said.append(getattr(step, "__name__", "?"))
            await step()
        await end()
    except BaseException as error:
        error.add_note(f"seed {seed}: {said}")
        raise
