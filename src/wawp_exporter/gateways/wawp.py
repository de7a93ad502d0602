"""The REST API of Wawp."""

from collections.abc import Mapping

from msgspec.structs import replace

from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import GatewayError
from wawp_exporter.gateways.bodies import FOREIGN, MAX_QR_BYTES, code_in, done, only_reading, refusal_in
from wawp_exporter.gateways.client import QR_TIMEOUT_S, RESTART_TIMEOUT_S, Client, read
from wawp_exporter.gateways.gateway import Reading

# How it says that it does not know an instance. Any other 404 is of a proxy, or of another service.
UNKNOWN = ("not_found", "session_not_found", "instance_not_found")


class Wawp(Client):
    """Wawp's REST API: every instance is asked by its id, and may be called by that or by its name in webhooks."""

    def __init__(self, api: GatewayApi, key: str | None) -> None:
        super().__init__(api, key)
        self._ids: dict[str, str] = {instance: instance for instance in api.instances}

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """A bearer token: Wawp would take it in the URL too, where proxies log it."""
        return {"Authorization": f"Bearer {key}"}

    async def sessions(self) -> list[Reading]:
        """`GET /v2/session/info` of each instance."""
        found = []
        for instance in self.instances:
            reading = await read(instance, self._info(instance))
            if reading and reading.trouble:
                found.append(self._troubled(instance, reading))
            elif reading:
                self._ids.update((name, instance) for name in reading.names)
                found.append(reading)
        return found

    async def status(self, session: str) -> str | None:
        """The status of one instance."""
        reading = await self._info(self._id(session))
        return reading.status if reading else None

    async def restart(self, session: str) -> None:
        """`POST /v2/session/restart`."""
        instance = self._id(session)
        answer = await self._ask(
            "POST",
            "/v2/session/restart",
            json={"instance_id": instance},
            headers=header_of(instance),
            seconds=RESTART_TIMEOUT_S,
        )
        done(answer)

    async def qr(self, session: str) -> bytes | None:
        """`GET /v2/auth/qr`."""
        instance = self._id(session)
        answer = await self._ask(
            "GET",
            "/v2/auth/qr",
            params={"instance_id": instance},
            headers=header_of(instance),
            seconds=QR_TIMEOUT_S,
            limit=MAX_QR_BYTES,
            accepted=(200, 404, 422),
        )
        return code_in(answer)

    async def probe(self, session: str, number: str) -> bool:  # noqa: ARG002 - it asks nothing
        """Its document names no such call."""
        raise GatewayError("Wawp cannot be probed")

    async def started_at(self) -> int | None:
        """It does not say."""
        return None

    async def _info(self, instance: str) -> Reading | None:
        answer = await self._ask(
            "GET",
            "/v2/session/info",
            params={"instance_id": instance},
            headers=header_of(instance),
            accepted=(200, 404),
        )
        if answer.status_code == 404:
            if refusal_in(answer).get("code") not in UNKNOWN:
                raise GatewayError(FOREIGN, 404)
            return None
        reading = only_reading(answer)
        return Reading((instance, *reading.names), reading.status, reading.engine)

    def _troubled(self, instance: str, reading: Reading) -> Reading:
        """An instance that gave no answer of use: its names are those of earlier answers."""
        names = tuple(name for name, known in self._ids.items() if known == instance)
        return replace(reading, names=names, unnamed=names == (instance,))

    def _id(self, session: str) -> str:
        if session not in self._ids:
            raise GatewayError("the session is of no instance that is configured")
        return self._ids[session]


def header_of(instance: str) -> Mapping[str, str]:
    """The header by which Wawp's own SDK names the instance."""
    return {"X-Instance-ID": instance}
