"""An audit as tables for a terminal."""

from rich.console import Console, Group
from rich.table import Table

from wawp_exporter.audit.audit import Audit
from wawp_exporter.audit.rows import Row
from wawp_exporter.audit.words import duration, percent
from wawp_exporter.model.session import WEEKDAYS


def print_table(audit: Audit, console: Console) -> None:
    """The report on a terminal."""
    ran = f"the exporter ran for {percent(audit.prometheus_saw_ratio)} of this period"
    late = f", {audit.late_events} events came late" if audit.late_events else ""
    differ = "; Grafana may differ" if audit.late_events or audit.prometheus_saw_ratio < 1 else ""
    title = f"{audit.start:%Y-%m-%d %H:%M} to {audit.end:%Y-%m-%d %H:%M} UTC; {ran}{late}{differ}"
    tables = [
        figures(name, rows)
        for name, rows in (
            ("Sessions", audit.sessions),
            ("Groups", audit.groups),
            ("Engines", audit.engines),
            ("Sources", audit.sources),
            ("All", [audit.total]),
        )
        if rows
    ]
    console.print(Group(title, *tables, losses(audit), hours(audit), patterns(audit)))


def figures(title: str, rows: list[Row]) -> Table:
    """The main figures of some rows."""
    table = Table(title=title, title_justify="left")
    for name in ("name", "source", "uptime", "coverage", "downtime", "disconnects", "MTTR", "MTBF", "longest outage",
                 "cold start p90", "QR waits"):  # fmt: skip
        table.add_column(name, overflow="fold", justify="left" if name in ("name", "source") else "right")
    for row in rows:
        ongoing = " (ongoing)" if row.longest_outage_ongoing else ""
        table.add_row(
            printable(row.name),
            printable(row.source or ""),
            percent(row.uptime_ratio),
            percent(row.coverage_ratio),
            duration(row.downtime_seconds),
            str(row.disconnects),
            duration(row.mttr_seconds),
            duration(row.mtbf_seconds),
            duration(row.longest_outage_seconds) + ongoing,
            duration(row.cold_start_p90_seconds),
            str(sum(row.qr_waits.values())),
        )
    return table


def printable(name: str) -> str:
    """A name that cannot move the cursor or draw in colours."""
    return "".join(sign if sign.isprintable() else "�" for sign in name).replace("[", "\\[")


def losses(audit: Audit) -> Table:
    """Disconnects by reason."""
    table = Table(title="Disconnects by reason", title_justify="left")
    for name in ("reason", "disconnects", "sessions"):
        table.add_column(name, justify="left" if name == "reason" else "right")
    for each in audit.losses:
        table.add_row(each.reason or "none given", str(each.losses), str(each.sessions))
    return table


def hours(audit: Audit) -> Table:
    """Disconnects by hour of the week."""
    table = Table(
        title=f"Disconnects by hour of the week ({audit.timezone})", title_justify="left", padding=(0, 0, 0, 1)
    )
    for name in ("", *(f"{hour:02}" for hour in range(24))):
        table.add_column(name, justify="right")
    for weekday, counts in zip(WEEKDAYS, audit.hour_of_week, strict=True):
        table.add_row(weekday[:3], *(str(count) if count else "·" for count in counts))
    return table


def patterns(audit: Audit) -> str:
    """Recurring disconnects in words."""
    lines = [
        f"{printable(each.session)} of {printable(each.source)}: every {WEEKDAYS[each.weekday]} "
        f"between {each.hour:02}:00 and {(each.hour + 1) % 24:02}:00, {each.weeks} of the last 8 weeks"
        for each in audit.recurring
    ]
    return "\n".join(["Recurring disconnects", *lines]) if lines else "No disconnects recur weekly."
