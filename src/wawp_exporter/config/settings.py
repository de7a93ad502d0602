"""A configuration that was checked, with the secrets that its files hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wawp_exporter.config.files import Stamps
from wawp_exporter.config.schema import Config


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the secret files held, as bytes. Never printed: the fields are out of `repr`."""

    hmac_keys: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    metrics_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    api_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    remedy_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    gateway_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    probe_numbers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that was checked, with the contents of its secret files.

    `stamps` are those of all its files, as they were just before they were read.
    """

    config: Config
    secrets: Secrets
    stamps: Stamps = field(default_factory=dict, repr=False)


def secrets_of(config: Config, read: Mapping[str, tuple[bytes, ...]]) -> Secrets:
    """The secrets that were read while the configuration was checked (by path), each where it belongs."""

    def held(path: str | None) -> tuple[bytes, ...]:
        return read[path] if path else ()

    return Secrets(
        hmac_keys={name: held(source.hmac_keys_file) for name, source in config.sources.items()},
        tokens={name: held(source.token_file) for name, source in config.sources.items()},
        metrics_tokens=held(config.web.metrics_token_file),
        api_tokens=held(config.web.api_token_file),
        remedy_tokens=held(config.remedy.token_file),
        gateway_keys={
            name: "\n".join(key.decode() for key in held(source.api.key_file))
            for name, source in config.sources.items()
            if source.api.key_file
        },
        probe_numbers={
            name: held(source.probe.number_file)[0].decode().removeprefix("+")
            for name, source in config.sources.items()
            if source.probe.number_file
        },
    )
