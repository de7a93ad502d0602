"""Files are read again by themselves: a rotated key, a mounted Secret, a renewed certificate, the configuration."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from tests import parts
from tests.served import Served, run, served
from tests.service.test_reload import TLS, make_pair, shown, use
from wawp_exporter.errors import TooBusy
from wawp_exporter.service import upkeep
from wawp_exporter.service.renewal import Renewal, stamps_of

SIGNED = {"sources": {"default": {"hmac_keys_file": "keys"}}}
MOUNTED = {
    "web": {"metrics_token_file": "secrets/metrics", "api_token_file": "secrets/api"},
    "sources": {"default": {"hmac_keys_file": "secrets/hmac"}, "other": {"token_file": "secrets/token"}},
    "remedy": {"token_file": "secrets/remedy"},
}
READING, REFUSED = "files have changed, reading the configuration again", "configuration refused, the old one stays"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of the upkeep is a hundredth of one."""
    monkeypatch.setattr(upkeep, "TICK_S", 0.01)


def replace(path: Path, content: str) -> None:
    """As editors and `install` do: another file takes the name."""
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").replace(path)


def mount(folder: Path, number: int, **contents: str) -> None:
    """As Kubernetes does: the files are links through `..data`, and all of them change with one rename."""
    (folder / f"..{number}").mkdir(parents=True)
    for name, content in contents.items():
        (folder / f"..{number}" / name).write_text(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(f"..{number}")
    (folder / "..data_tmp").rename(folder / "..data")


def secrets(word: str) -> dict[str, str]:
    """A secret of each kind."""
    return {name: f"{word}-{name}\n" for name in ("metrics", "api", "hmac", "token", "remedy")}


async def signed(service: Served, key: str) -> int:
    """How a webhook with this key is answered."""
    body = parts.encode(parts.envelope(timestamp=parts.now_ms()))
    headers = {"X-Webhook-Hmac": parts.sign(body, key)}
    return (await service.client.post("/webhook", content=body, headers=headers)).status_code


async def answers(service: Served, word: str) -> list[int]:
    """What is answered to whoever has these secrets: to a scrape, a reader, two gateways and an Alertmanager."""

    def bearer(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {word}-{name}"}

    ask, body = service.client.request, parts.envelope(timestamp=parts.now_ms())
    return [
        (await ask("GET", "/metrics", headers=bearer("metrics"))).status_code,
        (await ask("GET", "/api/v1/sessions", headers=bearer("api"))).status_code,
        await signed(service, f"{word}-hmac"),
        (await ask("POST", "/webhook/other", headers=bearer("token"), json=body)).status_code,
        (await ask("POST", "/alertmanager", headers=bearer("remedy"), json={})).status_code,
    ]


def test_a_mounted_secret_is_read_again(tmp_path: Path) -> None:
    """Every kind of key and token; the old ones are worth nothing afterwards."""
    mount(tmp_path / "secrets", 1, **secrets("old"))

    async def check() -> None:
        async with served(tmp_path, MOUNTED) as service:
            assert (await answers(service, "old"))[:4] == [200] * 4

            mount(tmp_path / "secrets", 2, **secrets("new"))

            await until(signed_is, service, "new-hmac", 200)
            assert await answers(service, "old") == [401] * 5
            assert (await answers(service, "new"))[:4] == [200] * 4
            assert 401 not in await answers(service, "new")

    run(check())


async def until(ask: Callable[..., Awaitable[bool]], *about: Any) -> None:
    """Waits until what is asked is so."""
    async with asyncio.timeout(parts.PATIENCE_S):
        while not await ask(*about):  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)


async def signed_is(service: Served, key: str, status: int) -> bool:
    """Whether a webhook with this key is answered so."""
    return await signed(service, key) == status


@pytest.mark.parametrize("write", [Path.write_text, replace], ids=["in place", "replaced"])
def test_a_rotated_key_is_read_again(tmp_path: Path, write: Callable[[Path, str], object]) -> None:
    """Though it is as long as the old one."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service:
            write(tmp_path / "keys", "new")

            await until(signed_is, service, "new", 200)
            assert await signed(service, "old") == 401

    run(check())


def test_a_renewed_certificate_is_shown(tmp_path: Path) -> None:
    """A certificate whose key has not arrived yet is refused, and the old pair stays until it has."""
    make_pair(tmp_path, "old")
    make_pair(tmp_path, "new")
    use(tmp_path, "old", "old")

    async def check() -> None:
        async with served(tmp_path, TLS) as service:
            before = await shown(service.address)
            use(tmp_path, "new", "old")
            await until(ok_is, service, 0)
            assert await shown(service.address) == before

            use(tmp_path, "new", "new")

            await until(ok_is, service, 1)
            assert await shown(service.address) == (tmp_path / "new.crt").read_text()

    run(check())


async def ok_is(service: Served, value: int) -> bool:
    """Whether the last reload was taken."""
    return f"wawp_exporter_config_last_reload_successful {value}.0" in await service.text()


@pytest.mark.parametrize("spoilt", ["", "   \n", "# a comment only\n", "\x00\x01"])
def test_what_is_no_key_leaves_the_old_one_and_one_log_line(tmp_path: Path, spoilt: str) -> None:
    """An emptied file does not let everybody in; the file is not read again until it changes again."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service:
            (tmp_path / "keys").write_text(spoilt)
            await until(ok_is, service, 0)
            await looks(service, 5)

            assert [await signed(service, key) for key in ("old", "", spoilt)] == [200, 401, 401]
            (tmp_path / "keys").write_text("new")
            await until(signed_is, service, "new", 200)

    with capture_logs() as lines:
        run(check())

    assert [[line["event"] for line in lines].count(what) for what in (REFUSED, READING)] == [1, 2]


async def looks(service: Served, count: int) -> None:
    """Waits until files were compared so many times more."""
    renewal = service.service.reloader.renewal
    for _ in range(count):
        await renewal.look()


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """Half of a key would be a wrong key: a change must have stayed for one look."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service:
            await service.service.upkeep.close()
            with (tmp_path / "keys").open("w") as file:
                for piece in ("ne", "w-", "key"):
                    file.write(piece)
                    file.flush()
                    await looks(service, 1)
            assert await signed(service, "old") == 200

            await looks(service, 1)

            assert await signed(service, "new-key") == 200

    run(check())


def test_a_missing_file_is_waited_for(tmp_path: Path) -> None:
    """Somebody deletes the key before the new one is there."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service:
            (tmp_path / "keys").unlink()
            await until(ok_is, service, 0)
            assert await signed(service, "old") == 200

            (tmp_path / "keys").write_text("new")

            await until(signed_is, service, "new", 200)

    run(check())


def test_the_configuration_and_the_files_that_it_names_anew_are_followed(tmp_path: Path) -> None:
    """Refused while a file is missing, taken when it is there; from then on that file is followed."""

    async def check() -> None:
        async with served(tmp_path) as service:
            service.write(SIGNED)
            await until(ok_is, service, 0)
            assert await service.post() == "transition"

            (tmp_path / "keys").write_text("first")
            await until(signed_is, service, "wrong", 401)
            assert await signed(service, "first") == 200

            (tmp_path / "keys").write_text("second")
            await until(signed_is, service, "second", 200)

    run(check())


def test_a_changed_key_does_not_make_a_broken_configuration_be_read_for_ever(tmp_path: Path) -> None:
    """The configuration is refused before its keys are read; each change is one try and one log line."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service:
            good = service.file.read_text()
            service.file.write_text("web: [")
            (tmp_path / "keys").write_text("new")
            await until(ok_is, service, 0)
            await looks(service, 5)
            assert await signed(service, "old") == 200

            service.file.write_text(good)

            await until(signed_is, service, "new", 200)

    with capture_logs() as lines:
        run(check())

    assert [line["event"] for line in lines].count(REFUSED) in (1, 2)  # two files, which may settle one after the other


def test_what_a_signal_has_read_is_not_read_again(tmp_path: Path) -> None:
    """A reload that somebody asks for is one."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service:
            (tmp_path / "keys").write_text("new")
            await service.service.reload()
            await looks(service, 3)

    with capture_logs() as lines:
        run(check())

    assert READING not in [line["event"] for line in lines]


def test_a_reload_that_fails_at_once_is_not_repeated(tmp_path: Path) -> None:
    """Whatever it fails of: one try, and one log line, for each change."""
    key = tmp_path / "keys"
    key.write_text("old")
    tries = []

    async def reload() -> None:
        tries.append(key.read_text())
        raise TooBusy("the exporter is stopping")

    async def check() -> None:
        renewal = Renewal(stamps_of([key]), reload)
        for content in ("new", "newer"):
            key.write_text(content)
            for _ in range(4):
                await renewal.look()

    run(check())

    assert tries == ["new", "newer"]


def test_open_streams_and_requests_go_on(tmp_path: Path) -> None:
    """A reload of keys ends no connection: neither an event stream nor a webhook that is under way."""
    (tmp_path / "keys").write_text("old")

    async def check() -> None:
        async with served(tmp_path, SIGNED) as service, service.client.stream("GET", "/api/v1/events") as stream:
            lines = stream.aiter_lines()
            body = parts.encode(parts.envelope(session="slow", timestamp=parts.now_ms()))
            released = asyncio.Event()

            async def slowly() -> Any:
                yield body[:10]
                await released.wait()
                yield body[10:]

            headers = {"X-Webhook-Hmac": parts.sign(body, "old"), "Content-Length": str(len(body))}
            under_way = asyncio.create_task(service.client.post("/webhook", content=slowly(), headers=headers))
            (tmp_path / "keys").write_text("new")
            await until(signed_is, service, "new", 200)
            released.set()

            assert (await under_way).status_code == 200
            async for line in lines:
                if '"session":"slow"' in line:
                    break

    run(check())


def test_a_process_reads_its_files_again(exporter: Callable[..., parts.Exporter], tmp_path: Path) -> None:
    """As it is started by users, within some seconds and without a signal."""
    (tmp_path / "keys").write_text("old\n")
    running = exporter(SIGNED, tmp_path)
    config = yaml.safe_load(running.config_file.read_text())
    config["timezone"] = "Asia/Tokyo"

    replace(running.config_file, yaml.safe_dump(config))
    replace(tmp_path / "keys", "new\n")

    parts.wait_until(lambda: running.post(parts.envelope(), key="new").status_code == 200)
    parts.wait_until(lambda: "Asia/Tokyo" in running.get("/audit").text)
