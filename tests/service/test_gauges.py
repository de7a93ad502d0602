"""The exporter's own gauges that are read from its parts at each scrape."""

from pathlib import Path

from tests.served import run, served

GAUGES = ("wawp_exporter_log_size_bytes", "wawp_exporter_log_free_bytes", "wawp_exporter_log_disk_bytes")


def test_metrics_are_there_while_the_folder_of_the_log_is_not(tmp_path: Path) -> None:
    """A disk that was taken away must not look like an exporter that is down; sizes are those that were seen last."""

    async def test() -> None:
        log = {"url": f"sqlite:///{tmp_path}/data/wawp.db"}
        async with served(tmp_path, {"database": log}) as service:
            assert await service.post() == "transition"
            await service.text()
            (tmp_path / "data").rename(tmp_path / "away")
            text = await service.text()
            (tmp_path / "away").rename(tmp_path / "data")

        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(GAUGES))
        assert [float(values[gauge]) > 0 for gauge in GAUGES] == [True] * 3
        assert 'wawp_session_status{source="default",session="s",status="WORKING"} 1' in text

    run(test())
