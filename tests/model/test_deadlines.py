"""Deadlines: earliest first, in a fixed order at one instant, and no more of them than names."""

from wawp_exporter.model.deadlines import SPARE, Deadlines


def drained(deadlines: Deadlines[tuple[str]]) -> list[tuple[int, str]]:
    """All of them in their order."""
    found = []
    while deadlines.next is not None:
        when, (name,) = deadlines.pop()
        found.append((when, name))
    return found


def test_the_earliest_comes_first_and_at_one_instant_the_order_is_that_of_names() -> None:
    """A replay must do things in the order in which they were done."""
    deadlines: Deadlines[tuple[str]] = Deadlines()
    for when, name in ((5, "b"), (7, "a"), (5, "a"), (3, "c")):
        deadlines.plan(when, (name,))

    assert drained(deadlines) == [(3, "c"), (5, "a"), (5, "b")]


def test_an_earlier_plan_replaces_a_later_one_and_a_later_one_is_ignored() -> None:
    """Whoever is woken too early plans anew."""
    deadlines: Deadlines[tuple[str]] = Deadlines()
    for when in (50, 20, 90):
        deadlines.plan(when, ("a",))

    assert drained(deadlines) == [(20, "a")]


def test_plans_that_were_replaced_do_not_pile_up() -> None:
    """One gateway that announces an end a little earlier with each event must not fill the memory."""
    deadlines: Deadlines[tuple[str]] = Deadlines()
    deadlines.plan(1, ("b",))
    for when in range(100_000, 50, -1):
        deadlines.plan(when, ("a",))

    assert len(deadlines) <= 2 * 2 + SPARE
    assert drained(deadlines) == [(1, "b"), (51, "a")]
