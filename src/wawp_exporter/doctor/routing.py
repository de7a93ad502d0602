"""Alertmanager's routes: which receivers an alert reaches, decided as Alertmanager does."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from wawp_exporter.config.values import parse_duration

MATCHER = re.compile(r'\s*("(?:\\.|[^"\\])*"|[^\s=!~{},"]+)\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\])*"|[^,{}"]*)\s*')
ESCAPE = re.compile(r"\\(.)")
ESCAPED = {"n": "\n"}
WAIT, INTERVAL = "30s", "5m"  # Alertmanager's own defaults
INTEGRATIONS = "_configs"

Match = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a label that is missing is empty."""

    label: str
    accepts: Match = field(repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """One route; what it does not say itself it has from the one above it. Times in seconds."""

    receiver: str
    matchers: tuple[Matcher, ...]
    goes_on: bool
    wait: float
    interval: float
    muted: tuple[str, ...]
    active: tuple[str, ...]
    children: tuple["Route", ...] = ()

    @classmethod
    def of(cls, body: Mapping[str, Any], above: Mapping[str, Any] | None = None) -> Self:
        """A route as the configuration has it, with all below it."""
        inherited = {"group_wait": WAIT, "group_interval": INTERVAL, **(above or {})}
        kept = {**inherited, **{key: body[key] for key in ("receiver", *inherited) if body.get(key) is not None}}
        return cls(
            receiver=kept["receiver"],
            matchers=tuple(matchers_of(body)),
            goes_on=bool(body.get("continue")),
            wait=parse_duration(kept["group_wait"]),
            interval=parse_duration(kept["group_interval"]),
            muted=tuple(body.get("mute_time_intervals") or ()),
            active=tuple(body.get("active_time_intervals") or ()),
            children=tuple(cls.of(child, kept) for child in body.get("routes") or ()),
        )

    def reached(self, labels: Mapping[str, str]) -> list["Route"]:
        """The routes that an alert with these labels takes; none, if this one does not match."""
        if not all(matcher.accepts(labels.get(matcher.label, "")) for matcher in self.matchers):
            return []
        found: list[Route] = []
        for child in self.children:
            deeper = child.reached(labels)
            found += deeper
            if deeper and not child.goes_on:
                break
        return found or [self]

    def possible(self, labels: Mapping[str, str], unknown: frozenset[str]) -> Iterator["Route"]:
        """The routes that an alert can take whose labels in `unknown` may have any value."""
        settled = [matcher for matcher in self.matchers if matcher.label not in unknown]
        if not all(matcher.accepts(labels.get(matcher.label, "")) for matcher in settled):
            return
        for child in self.children:
            yield from child.possible(labels, unknown)
            if child.certain(labels, unknown) and not child.goes_on:
                return
        if not any(child.certain(labels, unknown) for child in self.children):
            yield self

    def certain(self, labels: Mapping[str, str], unknown: frozenset[str]) -> bool:
        """Whether it matches, whatever the unknown labels are."""
        return all(
            matcher.label not in unknown and matcher.accepts(labels.get(matcher.label, "")) for matcher in self.matchers
        )


def matchers_of(body: Mapping[str, Any]) -> Iterator[Matcher]:
    """All matchers of a route: `matchers`, and the older `match` and `match_re`."""
    for label, value in (body.get("match") or {}).items():
        yield Matcher(label, condition("=", str(value)))
    for label, value in (body.get("match_re") or {}).items():
        yield Matcher(label, condition("=~", str(value)))
    written = body.get("matchers") or ()
    for text in [written] if isinstance(written, str) else written:
        yield from parsed(text)


def parsed(text: str) -> Iterator[Matcher]:
    """`{a="b", c=~"d|e"}`, with braces or without. Raises ValueError for what is none."""
    inner = text.strip().removeprefix("{").removesuffix("}").strip()
    position = 0
    while position < len(inner):
        found = MATCHER.match(inner, position)
        if not found or inner[found.end() : found.end() + 1] not in ("", ","):
            raise ValueError(f"{text!r} is not a matcher")
        label, operator, value = found.groups()
        yield Matcher(unquoted(label), condition(operator, unquoted(value)))
        position = found.end() + 1


def unquoted(text: str) -> str:
    r"""Without quotes; `\n`, `\"` and `\\` are what they stand for."""
    if not text.startswith('"'):
        return text.strip()
    return ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), text[1:-1])


def condition(operator: str, value: str) -> Match:
    """What a label's value must be; a regular expression must match all of it. Raises ValueError for a broken one."""
    if "~" not in operator:
        return (lambda text: text != value) if "!" in operator else (lambda text: text == value)
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is not understood here: {error}") from None
    if "!" in operator:
        return lambda text: pattern.fullmatch(text) is None
    return lambda text: pattern.fullmatch(text) is not None


def integrations(receivers: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, bool]]]:
    """By receiver, each way by which it sends and whether it sends ends too: `[("slack", True)]`."""
    return {
        receiver["name"]: [
            (key.removesuffix(INTEGRATIONS), bool(settings.get("send_resolved")))
            for key, each in receiver.items()
            if key.endswith(INTEGRATIONS)
            for settings in each or ()
        ]
        for receiver in receivers
    }
