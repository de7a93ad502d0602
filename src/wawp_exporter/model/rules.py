"""What the configuration says about each session."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec.structs import replace

from wawp_exporter.config.schema import Config, SessionRule
from wawp_exporter.config.values import glob
from wawp_exporter.model.limits import Limits
from wawp_exporter.model.shard import shard_of

Key = tuple[str, str]  # (source, session)
Windows = tuple[tuple[int, int], ...]  # begins and ends of maintenance (Unix ms)


class Meta(msgspec.Struct, frozen=True):
    """What the configuration says of a session. Thresholds are overrides in seconds, windows are Unix ms.

    `limits` are the thresholds that hold for it: the defaults, and its overrides over them; so is `quiet`, in messages.
    `heard` is since when its source is heard (Unix ms), 0 for always: no silence began before.
    """

    group: str = ""
    owner: str = ""
    tier: str = ""
    thresholds: tuple[tuple[str, float], ...] = ()
    silent: float = 0.0
    windows: Windows = ()
    limits: Limits = Limits()
    quiet: int = 0
    heard: int = 0

    @property
    def unheard(self) -> "Meta":
        """The same for a session whose source sends no messages: that it is silent says nothing."""
        return replace(self, silent=0.0, limits=replace(self.limits, silent=0), quiet=0)

    def excuses(self, now: int) -> bool:
        """Whether it is in maintenance at `now` (Unix ms)."""
        return bool(self.windows) and any(start <= now < end for start, end in self.windows)


class Rules:
    """The configuration as the fleet needs it: globs compiled, equal metadata shared.

    `deaf` are the sources from which no messages come: the silence of their sessions says nothing. `heard` says since
    when others are heard (Unix ms), where that was not always so. It does not count for `hushed`: these sessions were
    silent for too long before.
    """

    def __init__(
        self,
        config: Config,
        deaf: frozenset[str] = frozenset(),
        heard: Mapping[str, int] | None = None,
        hushed: frozenset[Key] = frozenset(),
    ) -> None:
        self.config = config
        self.deaf = deaf
        self.heard = heard or {}
        self.hushed = hushed
        self.shard = shard_of(config)
        self.groups = {name: [split_member(member) for member in members] for name, members in config.groups.items()}
        self._group_of = {key: name for name, members in self.groups.items() for key in members}
        self._sessions = [
            (glob(rule.source), glob(rule.session), place, rule) for place, rule in enumerate(config.sessions)
        ]
        self._windows = [(glob(w.source), glob(w.session), unix_ms(w.from_), unix_ms(w.to)) for w in config.maintenance]
        self.session_histograms = config.metrics.session_histograms
        self.troubled_only = config.metrics.sessions == "troubled"
        self._shared: dict[Meta, Meta] = {}
        self._made: dict[tuple[int, str, Windows], Meta] = {}  # by the rule's place, the group, and the windows
        self._same_for_all = not (self._group_of or self._sessions or self._windows)
        thresholds = config.thresholds
        self._default = Meta(silent=thresholds.silent, limits=self._limits({}), quiet=thresholds.quiet)

    def renewed(self, config: Config, deaf: frozenset[str], fresh: Mapping[str, int]) -> "Rules":
        """The rules of another configuration; `fresh` says since when sources are heard that were not until then."""
        hushed = frozenset(key for key in self.hushed if key[0] not in fresh)
        return Rules(config, deaf, {**self.heard, **fresh}, hushed)

    def holds(self, key: Key) -> bool:
        """Whether a session belongs to this replica's shard."""
        return self.shard.holds(key[0])

    def meta(self, source: str, session: str) -> Meta:
        """The first matching `sessions` rule, the group, and every maintenance window that matches."""
        meta = self._default if self._same_for_all else self._meta(source, session)
        if source in self.deaf:
            meta = meta.unheard
        elif source in self.heard and (source, session) not in self.hushed:
            meta = replace(meta, heard=self.heard[source])
        else:
            return meta
        return self._shared.setdefault(meta, meta)

    def _meta(self, source: str, session: str) -> Meta:
        found = ((place, r) for s, n, place, r in self._sessions if s.fullmatch(source) and n.fullmatch(session))
        place, rule = next(found, (-1, None))
        group = self._group_of.get((source, session), "")
        windows = tuple((a, b) for s, n, a, b in self._windows if s.fullmatch(source) and n.fullmatch(session))
        alike = (place, group, windows)
        if alike not in self._made:
            self._made[alike] = self._make(rule, group, windows)
        return self._made[alike]

    def _make(self, rule: SessionRule | None, group: str, windows: Windows) -> Meta:
        overrides = rule.thresholds.given() if rule else {}
        return Meta(
            group=group,
            owner=rule.owner if rule else "",
            tier=rule.tier if rule else "",
            thresholds=tuple((kind, value) for kind, value in overrides.items() if kind != "quiet"),
            silent=overrides.get("silent", self.config.thresholds.silent),
            windows=windows,
            limits=self._limits(overrides),
            quiet=round(overrides.get("quiet", self.config.thresholds.quiet)),
        )

    def _limits(self, overrides: Mapping[str, float]) -> Limits:
        """The default thresholds with these over them, in ms."""
        given = {kind: overrides.get(kind, getattr(self.config.thresholds, kind)) for kind in Limits.__struct_fields__}
        return Limits(**{kind: round(seconds * 1000) for kind, seconds in given.items()})


def split_member(member: str) -> Key:
    """`default/sales-uk` → `("default", "sales-uk")`."""
    source, _, session = member.partition("/")
    return source, session


def unix_ms(moment: datetime) -> int:
    """A zoned datetime as Unix ms."""
    return round(moment.timestamp() * 1000)
