"""A judge that looks at every second and remembers everything: slow, naive, and written apart from the real one.

Its words are those of the definitions. What it is held against: `tests/test_judge_laws.py`.
"""

from collections import defaultdict
from itertools import pairwise

from wawp_exporter.model.limits import Constants, Limits

DOWN = ("STARTING", "FAILED", "DISCONNECTED")
LASTING = {"disconnected", "failed", "stuck_starting", "down"}
RIVAL = {"disconnect": "reauth", "reauth": "disconnect"}
Key = tuple[str, str]


class SlowSession:
    """One session and its past, in seconds."""

    def __init__(self, key: Key, engine: str) -> None:
        self.key, self.engine = key, engine
        self.status, self.since, self.heard = "UNKNOWN", 0, 0
        self.worked = self.maintenance = False
        self.login = self.down = self.left_working = 0  # 0: none
        self.held = (0, 0, 0)  # login, down and left_working at the last STOPPED
        self.resting = 0  # the login episode that a STOPPED has not ended yet
        self.stopped = 0
        self.excused = 0
        self.spell: dict[str, int] = {}  # since, lost_at, failed, disconnected
        self.entries: list[tuple[int, str]] = []
        self.flaps = (0, 0)  # first entry, when that was known
        self.restrictions: dict[str, int] = {}
        self.problems: dict[str, int] = {}
        self.alone = 0
        self.learned = self.login_learned = 0
        self.lost: dict[str, int] = {}  # kind → time, of what counts
        self.spent: set[str] = set()


class SlowOutage:
    """Sessions of one outage."""

    def __init__(self, since: int, newest: int, now: int) -> None:
        self.since, self.newest, self.begun = since, newest, now
        self.members: set[Key] = set()
        self.largest = 0
        self.exported = False
        self.low = 0


class SlowJudge:
    """Everything in seconds; `tick` first, then the events of that second."""

    def __init__(self, constants: Constants, limits: Limits) -> None:
        self.times = {name: getattr(constants, name) // 1000 for name in constants.__struct_fields__ if "_ms" in name}
        self.c, self.limits = constants, {name: getattr(limits, name) // 1000 for name in limits.__struct_fields__}
        self.sessions: dict[Key, SlowSession] = {}
        self.outages: dict[tuple[str, str, str], SlowOutage] = {}

    # -- time

    def tick(self, now: int) -> None:
        """What time alone changes, in the order of one instant."""
        for _, session in sorted(self.sessions.items()):
            self.look(session, now)
        for name, outage in sorted(self.outages.items()):
            self.weigh(name, outage, now)
        for _, session in sorted(self.sessions.items()):
            self.export(session, now)

    def look(self, s: SlowSession, now: int) -> None:
        """What is over, and what counts."""
        stay = now - s.since
        if s.status == "WORKING" and s.spell and (stay >= self.times["recovered_ms"] or not self.announced(s)):
            s.spell = {}
        if s.status == "STOPPED" and stay > self.times["restart_ms"]:
            s.spell, s.resting, s.entries, s.flaps = {}, 0, [], (0, 0)
        if s.flaps[0] and not self.flapping(s, now):
            s.flaps = (0, 0)
        for kind in ("disconnect", "reauth", "silence"):
            at = self.lost_at(s, kind, now)
            if kind in s.lost and not at:
                self.recover(s, kind, now)
            elif at and kind not in s.lost:
                self.lose(s, kind, at, now)

    def in_login(self, s: SlowSession) -> int:
        """The login episode; a STOPPED that may be a restart, and UNKNOWN after it, do not end it."""
        return s.login or (s.resting if s.status in ("STOPPED", "UNKNOWN") else 0)

    def announced(self, s: SlowSession) -> bool:
        """Whether anybody was told that it is lost."""
        outage = self.outage_of(s, "disconnect")
        return bool(
            {"disconnected", "failed", "stuck_starting", "down"} & set(s.problems) or (outage and outage.exported)
        )

    def flapping(self, s: SlowSession, now: int) -> int:
        """The first of four entries to one status within the window, 0 if there are not as many."""
        by_status = defaultdict(list)
        for at, status in s.entries:
            if now - at < self.times["flap_window_ms"]:
                by_status[status].append(at)
        return min((times[-self.c.flap_entries] for times in by_status.values() if len(times) >= 4), default=0)

    def lost_at(self, s: SlowSession, kind: str, now: int) -> int:
        """The time of its loss, 0 if it does not count."""
        if s.maintenance:
            return 0
        if kind == "reauth":
            return max(self.in_login(s), s.excused) if self.in_login(s) and s.worked else 0
        if kind == "silence":
            begins = s.status == "WORKING" or (kind in s.lost and s.status == "UNKNOWN")
            return s.heard if begins and self.limits["silent"] and now - s.heard >= self.limits["silent"] else 0
        if not s.spell or kind in s.lost:
            return s.spell.get("lost_at", 0)
        if not s.worked or s.status not in DOWN or self.in_login(s):
            return 0
        age = now - s.spell["lost_at"]
        counts = s.spell["disconnected"] or (s.spell["failed"] and age >= self.limits["failed"])
        return s.spell["lost_at"] if counts or age >= self.limits["starting"] else 0

    # -- outages

    def outage_of(self, s: SlowSession, kind: str) -> SlowOutage | None:
        """The one that it belongs to."""
        return next((o for name, o in self.outages.items() if name[0] == kind and s.key in o.members), None)

    def expected(self, source: str = "", engine: str = "") -> int:
        """The sessions that shares are taken of."""
        return sum(
            s.status != "STOPPED" and not s.maintenance and source in ("", s.key[0]) and engine in ("", s.engine)
            for s in self.sessions.values()
        )

    def open_losses(self, kind: str, source: str = "") -> list[tuple[int, Key]]:
        """What an outage could be made of: no exported one holds it."""
        held = {key for name, o in self.outages.items() if o.exported and name[0] == kind for key in o.members}
        return sorted(
            (s.lost[kind], key)
            for key, s in self.sessions.items()
            if kind in s.lost and kind not in s.spent and key not in held and source in ("", key[0])
        )

    def lose(self, s: SlowSession, kind: str, at: int, now: int) -> None:
        """A loss begins to count."""
        s.lost[kind] = at
        s.spent.discard(kind)
        if kind in RIVAL and self.outage_of(s, RIVAL[kind]):
            s.spent.add(kind)
            return
        for name in ((kind, s.key[0], s.engine), (kind, "", "")):
            outage = self.outages.get(name)
            window = self.times["burst_ms"]
            if outage and outage.since - window <= at <= outage.newest + window:
                self.join(name, [(at, s.key)], now)
                return
        found = self.everywhere(kind, at)
        if found:
            self.begin((kind, "", ""), found, now)
            return
        found = self.at_one_source((at, s.key), self.open_losses(kind, s.key[0]), self.expected(s.key[0], s.engine))
        if found:
            self.begin((kind, s.key[0], s.engine), found, now)

    def everywhere(self, kind: str, at: int) -> list[tuple[int, Key]]:
        """The losses of three sources at once, each of them a fifth of its source."""
        near = [pair for pair in self.open_losses(kind) if abs(pair[0] - at) <= self.times["burst_ms"]]
        sources = {key[0] for _, key in near}
        lost = {source: sum(key[0] == source for _, key in near) for source in sources}
        hit = [source for source in sources if lost[source] >= self.c.share * self.expected(source)]
        total = sum(lost[source] for source in hit)
        return near if len(hit) >= 3 and total >= max(3, self.c.share * self.expected()) else []

    def at_one_source(self, newest: tuple[int, Key], lost: list[tuple[int, Key]], n: int) -> list[tuple[int, Key]]:
        """By every run and every window that there is."""
        window = self.times["burst_ms"]
        for i in range(len(lost)):
            for j in range(len(lost), i, -1):
                run = lost[i:j]
                gaps = [b[0] - a[0] for a, b in pairwise(run)]
                if newest in run and max(gaps, default=0) <= window and len(run) >= max(3, self.c.share * n):
                    return run
        need = max(3, min(self.c.share * n, max(self.c.burst_least, self.c.burst_share * n)))
        for first, _ in lost:
            inside = [pair for pair in lost if first <= pair[0] <= first + window]
            if newest in inside and len(inside) >= need:
                return inside
        return []

    def begin(self, name: tuple[str, str, str], found: list[tuple[int, Key]], now: int) -> None:
        """A new outage, or more of the one that goes on; then whatever is near enough."""
        if name not in self.outages:
            self.outages[name] = SlowOutage(found[0][0], found[-1][0], now)
        self.join(name, found, now)
        if not name[1]:
            return
        outage, window = self.outages[name], self.times["burst_ms"]
        start = outage.since - window
        for pair in self.open_losses(name[0], name[1]):
            if start <= pair[0] <= outage.newest + window:
                self.join(name, [pair], now)

    def join(self, name: tuple[str, str, str], found: list[tuple[int, Key]], now: int) -> None:
        """They leave what held them before."""
        outage, kind = self.outages[name], name[0]
        for at, key in found:
            if key in outage.members:
                continue
            s = self.sessions[key]
            for other in self.outages.values():
                if other is self.outage_of(s, kind):
                    self.leave(other, key, now)
            if kind in RIVAL:
                if "flapping" not in s.problems:
                    s.entries, s.flaps = [], (0, 0)
                if RIVAL[kind] in s.lost:
                    s.spent.add(RIVAL[kind])
            outage.members.add(key)
            outage.newest = max(outage.newest, at)
            if not outage.exported:
                outage.since = min(outage.since, at)
        outage.largest = max(outage.largest, len(outage.members))
        self.note_low(outage, now)

    def leave(self, outage: SlowOutage, key: Key, now: int) -> None:
        """One session fewer."""
        outage.members.discard(key)
        self.note_low(outage, now)

    def floor(self, outage: SlowOutage) -> float:
        """Fewer than this are as good as over."""
        return max(3, self.c.low_share * outage.largest)

    def note_low(self, outage: SlowOutage, now: int) -> None:
        """Since when there are fewer than the floor."""
        outage.low = 0 if len(outage.members) >= self.floor(outage) else outage.low or now

    def recover(self, s: SlowSession, kind: str, now: int) -> None:
        """A loss is over."""
        del s.lost[kind]
        outage = self.outage_of(s, kind)
        if outage:
            self.leave(outage, s.key, now)

    def weigh(self, name: tuple[str, str, str], outage: SlowOutage, now: int) -> None:
        """Exported once it has settled; over when few are left for long."""
        if not outage.exported and now - outage.begun >= self.times["outage_settle_ms"]:
            if len(outage.members) >= self.floor(outage):
                outage.exported = True
            else:
                del self.outages[name]
        elif outage.exported and outage.low and now - outage.low >= self.times["low_ms"]:
            del self.outages[name]
            for key in outage.members:
                s = self.sessions[key]
                s.spent.add(name[0])
                self.relearn(s, now)
            for key in sorted(outage.members):
                self.look(self.sessions[key], now)

    def relearn(self, s: SlowSession, now: int) -> None:
        """What holds settles anew."""
        s.learned = s.login_learned = s.alone = now

    # -- problems

    def muted(self, s: SlowSession) -> set[str]:
        """What its outages say already."""
        everything = {
            "login_overdue",
            "login_unattended",
            "disconnected",
            "failed",
            "stuck_starting",
            "flapping",
            "down",
        }
        found: set[str] = set()
        if self.outage_of(s, "disconnect"):
            found |= everything | {"silent"}
        if self.outage_of(s, "reauth"):
            found |= everything
        if self.outage_of(s, "silence"):
            found.add("silent")
        return found

    def conditions(self, s: SlowSession, now: int) -> dict[str, tuple[int, int, int]]:  # noqa: C901 - one list
        """problem → since when it began, since when it holds with its limit, how long it must have held."""
        login, settle = self.in_login(s), self.times["settle_ms"]
        learned, login_learned = s.learned, s.login_learned
        found: dict[str, tuple[int, int, int]] = {}
        if s.maintenance:
            return {}
        if login:
            found["login"] = login, login, 0
            for problem, limit in (("login_overdue", "qr_escalate"), ("login_unattended", "qr_unattended")):
                found[problem] = login, max(login + self.limits[limit], login_learned), settle
            return found
        if s.status == "DISCONNECTED":
            found["disconnected"] = s.since, max(s.since, learned), self.times["disconnected_settle_ms"]
        for status, problem, limit in (("FAILED", "failed", "failed"), ("STARTING", "stuck_starting", "starting")):
            if s.status == status:
                found[problem] = s.since, max(s.since + self.limits[limit], learned), settle
        if s.flaps[0]:
            found["flapping"] = s.flaps[0], s.flaps[1], settle
        resting = s.status == "STOPPED" and now - s.since > self.times["restart_ms"]
        for problem, since in s.restrictions.items():
            if not resting:
                found[problem] = since, since, settle
        if self.limits["silent"] and s.status in ("WORKING", "UNKNOWN"):
            found["silent"] = s.heard, s.heard + self.limits["silent"], settle
        if s.spell and s.status in DOWN:
            found["down"] = s.spell["since"], max(s.spell["since"] + self.limits["down"], s.alone), settle
        return found

    def export(self, s: SlowSession, now: int) -> None:  # noqa: C901 - step by step
        """Begins what is due, keeps what lasts."""
        before, s.problems = s.problems, {}
        conditions = self.conditions(s, now)
        names = sorted({*conditions, *before}, key=lambda name: name == "down")
        for name in names:
            if name == "down" and s.problems:
                continue
            if name == "down" and set(before) - {"down"}:
                s.alone = now
                if name in conditions:
                    since, begins, settle = conditions[name]
                    conditions[name] = since, max(begins, now), settle
            if name in before and name in LASTING:
                if s.spell and not self.in_login(s) and not s.maintenance:
                    s.problems[name] = before[name]
                    continue
            elif name in before and name in conditions and now >= self.bare(name, conditions):
                s.problems[name] = conditions[name][0]
                continue
            if name in conditions and name not in self.muted(s) and s.status != "UNKNOWN":
                since, begins, settle = conditions[name]
                if now - begins >= settle:
                    s.problems[name] = since
        if not s.problems and set(before) - {"down"} and "down" not in names:
            s.alone = now

    def bare(self, name: str, conditions: dict[str, tuple[int, int, int]]) -> int:
        """When the limit is reached, whenever anybody learnt of it."""
        limit = {"login_overdue": "qr_escalate", "login_unattended": "qr_unattended", "silent": "silent"}.get(name)
        return conditions[name][0] + (self.limits[limit] if limit else 0)

    # -- events

    def event(self, key: Key, engine: str, word: str, now: int) -> None:
        """One event, and what follows from it for its session at once."""
        if word == "deleted":
            gone = self.sessions.pop(key, None)
            for outage in self.outages.values() if gone else ():
                if key in outage.members:
                    self.leave(outage, key, now)
            return
        s = self.sessions.setdefault(key, SlowSession(key, engine))
        if word in ("maintenance", "expected"):
            self.excuse(s, word == "maintenance", now)
        elif word == "restricted":
            s.restrictions.setdefault("reachout_timelock", now)
        elif word == "free":
            s.restrictions.clear()
        elif word == "heard":
            s.heard = now
        else:
            s.heard = now
            if word != s.status:
                self.enter(s, word, now)
        self.look(s, now)
        self.export(s, now)

    def excuse(self, s: SlowSession, maintenance: bool, now: int) -> None:
        """What is still so at the end of maintenance begins then."""
        if s.maintenance and not maintenance:
            s.excused = now
            self.relearn(s, now)
        s.maintenance = maintenance
        s.spell, s.entries, s.flaps = ({}, [], (0, 0)) if maintenance else (s.spell, s.entries, s.flaps)
        if maintenance:
            s.resting = 0
        else:
            self.follow_spell(s, now)

    def enter(self, s: SlowSession, status: str, now: int) -> None:
        """The episodes, then the spell, then the entries."""
        was_in_login = self.in_login(s)
        if status == "WORKING":
            s.login = s.down = s.left_working = s.stopped = 0
            s.held, s.resting, s.worked = (0, 0, 0), 0, True
        elif status == "STOPPED":
            s.left_working = now if s.status == "WORKING" else s.left_working
            s.resting = s.login or s.resting
            s.held, s.stopped = (s.login, s.down, s.left_working), now
            s.login = s.down = 0
        elif status != "UNKNOWN":
            if s.stopped:
                resumes = status == "STARTING" and now - s.stopped <= 30
                s.login, s.down, s.left_working = s.held if resumes else (0, 0, 0)
            elif s.status == "WORKING":
                s.left_working = now
            s.stopped, s.held, s.resting = 0, (0, 0, 0), 0
            s.login = s.login or (now if status == "SCAN_QR_CODE" else 0)
            s.down = s.down or now
        s.status, s.since = status, now
        s.learned = now
        if s.maintenance:
            s.resting = 0
            return
        if self.in_login(s) and not was_in_login:
            s.login_learned = now
            s.entries, s.flaps = [], (0, 0)
        self.follow_spell(s, now)
        member = self.outage_of(s, "disconnect") or self.outage_of(s, "reauth")
        if status in (*DOWN, "WORKING") and not self.in_login(s) and not member:
            s.entries.append((now, status))
            if not s.flaps[0] and self.flapping(s, now):
                s.flaps = (self.flapping(s, now), now)

    def follow_spell(self, s: SlowSession, now: int) -> None:
        """The down episode, with short WORKING and STOPPED inside."""
        if s.status in ("UNKNOWN", "WORKING", "STOPPED"):
            return
        if not s.spell:
            left = s.left_working if s.worked and s.left_working else s.down
            s.spell = {"since": s.down, "lost_at": max(left, s.excused), "failed": 0, "disconnected": 0}
            s.alone = now
        s.spell["failed"] |= s.status == "FAILED"
        s.spell["disconnected"] |= s.status == "DISCONNECTED"

    # -- reading

    def said(self) -> set[str]:
        """As `plays.said`."""
        problems = {
            f"{key[0]}:{key[1]} {name}@{at}" for key, s in self.sessions.items() for name, at in s.problems.items()
        }
        return problems | {
            f"OUTAGE {name[0]} {'/'.join(name[1:]) if name[1] else 'everywhere'} {len(o.members)}/{o.largest}@{o.since}"
            for name, o in self.outages.items()
            if o.exported
        }
