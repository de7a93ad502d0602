"""A reload puts a whole configuration in force, or nothing of it."""

import asyncio
import os
import shutil
import ssl
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.served import Served, eventually, run, served
from wawp_exporter.errors import WawpExporterError
from wawp_exporter.live import pace
from wawp_exporter.model.rules import Meta, Rules
from wawp_exporter.web.management import MAX_RELOADS

TLS = {"web": {"tls": {"cert_file": "tls.crt", "key_file": "tls.key"}}}
KINDS = {"rsa": ("rsa:2048",), "ec": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")}


def make_pair(folder: Path, name: str, kind: str = "ec", passphrase: str = "") -> None:
    """A self-signed certificate and its key, as NAME.crt and NAME.key."""
    encrypted = ("-passout", f"pass:{passphrase}") if passphrase else ("-nodes",)
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", f"/CN={name}")
    command = ["openssl", "req", "-x509", "-newkey", *KINDS[kind], *encrypted, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def use(folder: Path, cert: str, key: str) -> None:
    """Puts a certificate and a key in the place that the configuration names."""
    shutil.copy(folder / f"{cert}.crt", folder / "tls.crt")
    shutil.copy(folder / f"{key}.key", folder / "tls.key")


async def shown(address: str) -> str:
    """The certificate that a new connection is shown."""
    host, port = address.rsplit(":", 1)
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


async def refused(service: Served) -> str:
    """The message of a reload that is refused, and counted."""
    with pytest.raises(WawpExporterError) as error:
        await service.service.reload()
    assert "wawp_exporter_config_last_reload_successful 0.0" in await service.text()
    return str(error.value)


@pytest.mark.parametrize("spoil", ["certificate only", "key only", "no pem", "encrypted", "empty chain"])
def test_a_certificate_and_a_key_that_do_not_fit_change_nothing(tmp_path: Path, spoil: str) -> None:
    """A renewal writes one file after the other: whoever reads between the two must not end all handshakes."""
    make_pair(tmp_path, "old")
    make_pair(tmp_path, "new")
    make_pair(tmp_path, "locked", passphrase="secret")
    use(tmp_path, "old", "old")

    async def check() -> None:
        async with served(tmp_path, TLS) as service:
            before = await shown(service.address)
            if spoil == "certificate only":
                use(tmp_path, "new", "old")
            elif spoil == "key only":
                use(tmp_path, "old", "new")
            elif spoil == "encrypted":
                use(tmp_path, "locked", "locked")
            else:
                (tmp_path / "tls.crt").write_text("no certificate" if spoil == "no pem" else "-----BEGIN X-----\n")
            assert "web.tls: cannot use" in await refused(service)
            assert await shown(service.address) == before

            use(tmp_path, "new", "new")
            await service.service.reload()
            assert await shown(service.address) != before

    run(check())


@pytest.mark.parametrize(("before", "after"), [("rsa", "ec"), ("ec", "rsa")])
def test_a_renewed_key_of_another_type_replaces_the_old_one(tmp_path: Path, before: str, after: str) -> None:
    """Whichever type a client prefers, it is not shown the certificate of before."""
    make_pair(tmp_path, "old", before)
    make_pair(tmp_path, "new", after)
    use(tmp_path, "old", "old")

    async def check() -> None:
        async with served(tmp_path, TLS) as service:
            use(tmp_path, "new", "new")
            await service.service.reload()
            assert (await shown(service.address)).strip() == (tmp_path / "new.crt").read_text().strip()

    run(check())


def test_both_listeners_keep_the_old_certificate_or_take_the_new_one(tmp_path: Path) -> None:
    """Nothing of a refused reload is in force on one of them."""
    make_pair(tmp_path, "old")
    make_pair(tmp_path, "new")
    use(tmp_path, "old", "old")
    config = {"web": {**TLS["web"], "ingress_listen": "127.0.0.1:0"}}

    async def check() -> None:
        async with served(tmp_path, config) as service:
            sockets = [server.sockets[0] for each in service.front.servers for server in each.servers]
            addresses = ["{}:{}".format(*each.getsockname()[:2]) for each in sockets]
            before = [await shown(address) for address in addresses]
            use(tmp_path, "new", "old")
            await refused(service)
            assert [await shown(address) for address in addresses] == before
            use(tmp_path, "new", "new")
            await service.service.reload()
            assert len({before[0], *[await shown(address) for address in addresses]}) == 2

    run(check())


BAD_FILES: dict[str, Any] = {
    "a mistake": lambda folder: (folder / "wawp.yml").write_text("sources: {}\ntyop: 1\n"),
    "not UTF-8": lambda folder: (folder / "wawp.yml").write_bytes(b"log: {level: \xff}\n"),
    "a folder": lambda folder: ((folder / "wawp.yml").unlink(), (folder / "wawp.yml").mkdir()),
    "gone": lambda folder: (folder / "wawp.yml").unlink(),
    "no token file": lambda folder: (folder / "token").unlink(),
    "an empty token file": lambda folder: (folder / "token").write_text(""),
    "a gateway's key that no header can hold": lambda folder: (folder / "key").write_bytes(b"\xff\x00k\n"),
    "too deep": lambda folder: (folder / "wawp.yml").write_text("x: " + "[" * 5000),
}


@pytest.mark.parametrize("spoil", BAD_FILES)
def test_a_configuration_that_cannot_be_used_changes_nothing(tmp_path: Path, spoil: str) -> None:
    """Whatever is wrong with whichever file: refused, counted, and the old one answers as before."""
    (tmp_path / "token").write_text("old token\n")
    (tmp_path / "key").write_text("key\n")
    api = {"url": "http://127.0.0.1:9", "key_file": "key"}
    config = {"sources": {"default": {"token_file": "token", "api": api}, "gone": {}}}

    async def check() -> None:
        async with served(tmp_path, config) as service:
            old = service.service.settings
            gateway = service.service.watch.gateways["default"]
            service.write({"sources": {"default": {"token_file": "token", "api": api}}, "thresholds": {"failed": "1h"}})
            BAD_FILES[spoil](tmp_path)
            assert await refused(service)

            assert service.service.settings is old
            assert service.service.fleet.rules.config is old.config
            assert service.service.watch.gateways["default"] is gateway
            answer = await service.client.post("/webhook?token=old+token", json={})
            assert answer.status_code != 401
            assert (await service.client.post("/webhook/gone", json={})).status_code != 404

    run(check())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_secret_file_that_may_not_be_read_changes_nothing(tmp_path: Path) -> None:
    """Its mode was changed by whatever rotates it."""
    (tmp_path / "token").write_text("old token\n")

    async def check() -> None:
        async with served(tmp_path, {"web": {"api_token_file": "token"}}) as service:
            (tmp_path / "token").chmod(0)
            await refused(service)

    run(check())


def test_no_webhook_of_an_added_source_comes_before_its_sessions_are_back(tmp_path: Path) -> None:
    """It would make the session anew: since when it is down, and that somebody must log in, would be forgotten."""
    api = {"url": "http://127.0.0.1:9"}
    with_b, without = {"sources": {"a": {"api": api}, "b": {}}}, {"sources": {"a": {"api": api}}}

    async def check() -> None:
        async with served(tmp_path, with_b) as service:
            for number, status in enumerate(("WORKING", "FAILED", "SCAN_QR_CODE")):
                await service.post(status, source="b", at=parts.now_ms() - 60_000 + number)
            before = service.service.fleet.sessions["b", "s"].state
            service.write(without)
            await service.service.reload()
            # The same reload ends a gateway, which takes a moment: senders try again all the while.
            service.write({"sources": {"a": {}, "b": {}}})
            reload = asyncio.create_task(service.service.reload())
            while (outcome := await service.post("SCAN_QR_CODE", source="b")) == "404":
                pass
            await reload

            after = service.service.fleet.sessions["b", "s"].state
            assert outcome == "repeat"
            assert (after.down_since, after.auth_since) == (before.down_since, before.auth_since)

    run(check())


def test_a_source_that_others_have_is_whole_when_a_reload_adds_it(tmp_path: Path, postgres: parts.Postgres) -> None:
    """Another replica has had it for long; what this one followed of it before is no part of its sessions."""
    database = {"url": postgres.create_database("added_source")}

    async def check() -> None:
        async with served(tmp_path, {"database": database, "sources": {"a": {}}}) as service:
            other = tmp_path / "other"
            other.mkdir()
            async with served(other, {"database": database, "sources": {"a": {}, "b": {}}}) as replica:
                for number, status in enumerate(("WORKING", "FAILED", "SCAN_QR_CODE")):
                    await replica.post(status, source="b", at=parts.now_ms() - 60_000 + number)
                await replica.post(session="mark", source="a")
                for each in (service, replica):
                    await eventually(lambda each=each: ("a", "mark") in each.service.fleet.sessions)  # type: ignore[misc]
                assert ("b", "s") not in service.service.fleet.sessions

                service.write({"database": database, "sources": {"a": {}, "b": {}}})
                await service.service.reload()
                await service.service.jobs.awaken()
                states = [each.service.fleet.sessions["b", "s"].state for each in (service, replica)]
                assert states[0] == states[1]

    run(check())


def test_so_many_wait_for_a_reload_and_the_next_is_told_to_wait(tmp_path: Path) -> None:
    """Each of them would read all files and restart gateways' clients, one after another."""

    async def check() -> None:
        async with served(tmp_path, {"web": {"enable_lifecycle": True}}) as service:
            async with service.service.reloader.lock:
                asked = [asyncio.create_task(service.client.post("/-/reload")) for _ in range(MAX_RELOADS + 3)]
                await eventually(lambda: sum(each.done() for each in asked) == 3)
                refused = [each.result() for each in asked if each.done()]
            statuses = sorted(each.status_code for each in await asyncio.gather(*asked))

            assert statuses == [200] * MAX_RELOADS + [503] * 3
            assert {each.headers["Retry-After"] for each in refused} == {"10"}
            assert (await service.client.post("/-/reload")).status_code == 200

    run(check())


def test_others_get_their_turn_while_the_new_rules_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many sessions and many rules take seconds; then the change itself needs one turn."""
    turns, looked_up, meta = [0], Counter[int](), Rules.meta

    def counting(self: Rules, *key: str) -> Meta:
        looked_up[turns[0]] += 1
        return meta(self, *key)

    def turn() -> None:
        turns[0] += 1
        asyncio.get_running_loop().call_soon(turn)

    async def check() -> None:
        async with served(tmp_path) as service:
            await asyncio.gather(*(service.post(session=f"s{number}") for number in range(60)))
            service.write({"sessions": [{"session": "s1*", "owner": "ana"}]})
            monkeypatch.setattr(pace, "TURN_S", 0)
            monkeypatch.setattr(Rules, "meta", counting)
            turn()
            await service.service.reload()
            assert sum(looked_up.values()) >= 60
            assert max(looked_up.values()) <= 2
            assert service.service.fleet.sessions["default", "s12"].meta.owner == "ana"

    run(check())
