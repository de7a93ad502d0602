"""Which client speaks to which kind of gateway."""

from collections.abc import Callable

from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.gateways.gateway import Gateway


def make_gateway(api: GatewayApi, key: str | None) -> Gateway:
    """The client of a configured API."""
    # Only here: without an `api` the service does not import an HTTP client.
    from wawp_exporter.gateways.evolution import Evolution  # noqa: PLC0415
    from wawp_exporter.gateways.waha import Waha  # noqa: PLC0415
    from wawp_exporter.gateways.wawp import Wawp  # noqa: PLC0415
    from wawp_exporter.gateways.wppconnect import Wppconnect  # noqa: PLC0415

    kinds: dict[str, Callable[[GatewayApi, str | None], Gateway]] = {
        "waha": Waha,
        "wawp": Wawp,
        "evolution": Evolution,
        "wppconnect": Wppconnect,
    }
    return kinds[api.kind](api, key)
