"""The page of one session."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from wawp_exporter.audit.audit import covered
from wawp_exporter.audit.figures import tally
from wawp_exporter.audit.heatmap import Drawing, drawing_of, read_rows
from wawp_exporter.audit.rows import Row, row
from wawp_exporter.config.schema import Config
from wawp_exporter.gateways.watch import Watch
from wawp_exporter.live.clock import unix_now
from wawp_exporter.live.ingest import Ingest
from wawp_exporter.live.reader import Reader
from wawp_exporter.live.stream import Hub
from wawp_exporter.log.actions import Action
from wawp_exporter.log.history.history import History
from wawp_exporter.log.history.transitions import TransitionRow
from wawp_exporter.log.place import Place
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.web.pages.heat import heat_of
from wawp_exporter.web.pages.problems import Need, OutageLine, need_of
from wawp_exporter.web.pages.render import given_in, render
from wawp_exporter.web.pages.runbooks import RunbookPages

TRANSITIONS_SHOWN = 50
SPANS = {"24 hours": 86_400_000, "7 days": 604_800_000, "30 days": 2_592_000_000}


class SessionQuery(msgspec.Struct, frozen=True):
    """Where the table of transitions goes on, and the session's name where it is not in the path."""

    cursor: str | None = None
    session: str = ""


class SessionPage:
    """Its state is in memory; its history is read from the log, in threads."""

    def __init__(
        self,
        ingest: Ingest,
        watch: Watch,
        hub: Hub,
        reader: Reader,
        runbooks: RunbookPages,
        may_restart: Callable[[Request], bool],
    ) -> None:
        self._runbooks = runbooks
        self._may_restart = may_restart
        self._ingest = ingest
        self._watch = watch
        self._hub = hub
        self._reader = reader
        self._place = ingest.log.place

    async def get(self, request: Request) -> Response:
        """One session; for one that is not known (any more) a 404 with what the log still has of it."""
        now, query = unix_now(), given_in(request, SessionQuery)
        key = (request.path_params["source"], request.path_params.get("session", query.session))
        # Before the reads: the page's event stream continues from here, so that no transition is missed meanwhile.
        seq = self._hub.newest
        session = await self._ingest.find(key)
        rows, older = await self._reader.light(read_transitions, self._place, key, query.cursor)
        values: dict[str, Any] = {"seq": seq, "key": key, "rows": rows, "older": older}
        values["actions"] = await self._reader.light(read_actions, self._place, key)
        values["has_api"] = key[0] in self._watch.gateways
        values["confirmed"] = self._watch.confirmed(key[0])
        values["doubt"] = self._watch.doubt(session) if session else ""
        if session is None:
            return render(request, "missing.html", now, 404, **values)
        config = self._ingest.fleet.rules.config
        bars, uptimes = await asyncio.gather(
            self._reader.light(read_bars, self._place, config, key, now),
            self._reader.light(read_uptimes, self._place, config, key, now),
        )
        values["heats"] = [heat_of(name, [session], now, drawing) for name, drawing in bars.items()]
        values["limits"] = {**config.thresholds.model_dump(exclude={"quiet"}), **dict(session.meta.thresholds)}
        values["activity"] = self._ingest.fleet.activity.get(key)
        judge = self._ingest.fleet.judge
        values["outages"] = [OutageLine(outage, []) for outage in judge.outages_of(key)]
        problem = need_of(judge.problems(key), judge.reason(key))
        values["todo"] = self._todo(request, key, problem, values["outages"])
        values["may_restart"] = self._may_restart(request)
        return render(request, "session.html", now, session=session, problem=problem, uptimes=uptimes, **values)

    def _todo(
        self, request: Request, key: Key, problem: Need | None, outages: list[OutageLine]
    ) -> tuple[str, Markup] | None:
        """The alert about the session, and what to do about it; None while nothing is wrong."""
        alert = problem.alert if problem else outages[0].alert if outages else ""
        source = self._ingest.fleet.rules.config.sources.get(key[0])
        return (alert, self._runbooks.mitigation(request, alert, key, source)) if alert and source else None


def read_transitions(place: Place, key: Key, cursor: str | None) -> tuple[list[TransitionRow], str | None]:
    """A page of a session's transitions, newest first, and where the next one begins."""
    with History(place) as history:
        return history.transitions(
            source=key[0], session=key[1], start=None, end=None, limit=TRANSITIONS_SHOWN, cursor=cursor
        )


def read_actions(place: Place, key: Key) -> list[Action]:
    """What was done about a session lately."""
    with History(place) as history:
        return history.actions(key, 10)


def read_uptimes(place: Place, config: Config, key: Key, now: int) -> list[tuple[str, Row, float]]:
    """One session's figures of a day, a week and a month, each with the share that Prometheus can have seen."""
    windows = Rules(config).meta(*key).windows
    with History(place) as history:
        past = next(history.pasts(now - max(SPANS.values()), now, source=key[0], session=key[1]), None)
        if past is None:
            return []
        return [
            (words, row("session", key[1], tally(past, windows, now - span, now)),
             covered(history.runs(now - span, now)) / span)
            for words, span in SPANS.items()
        ]  # fmt: skip


def read_bars(place: Place, config: Config, key: Key, now: int) -> dict[str, Drawing]:
    """One session's heatmaps of a day, a week and a month."""
    return {name: drawing_of(now, read_rows(place, config, name, now, key)) for name in ("24h", "7d", "30d")}
