"""`python -m grafana`: writes grafana/dashboards/*.json anew."""

from pathlib import Path

from grafana import exporter, fleet, session, slo
from grafana.board import text_of

BOARDS = (fleet.BOARD, session.BOARD, slo.BOARD, exporter.BOARD)
DASHBOARDS = Path(__file__).parent / "dashboards"


def path_of(name: str) -> Path:
    """The file of a dashboard."""
    return DASHBOARDS / f"{name}.json"


def main() -> None:
    """Writes all four."""
    for board in BOARDS:
        path_of(board.name).write_text(text_of(board.build()))
        print(path_of(board.name).relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
