"""YAML file and environment → `Settings`, or ConfigError with every mistake."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from wawp_exporter.config import files
from wawp_exporter.config.checks import cross_check
from wawp_exporter.config.mistakes import describe, kind_of
from wawp_exporter.config.schema import Config
from wawp_exporter.config.settings import Settings, secrets_of
from wawp_exporter.errors import ConfigError

ENV_PREFIX = "WAWP_EXPORTER_"
# The command line and the build information read these: they are no keys of the configuration.
ENV_NOT_KEYS = frozenset({"CONFIG", "REVISION"})


class DuplicateKey(Exception):
    """A key stands twice in one mapping."""


class StrictLoader(yaml.SafeLoader):
    """YAML as PyYAML reads it safely, but a key given twice is a mistake, not a silent choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses the second of two equal keys with its line."""
        seen = set()
        for key_node, _ in node.value:
            # Keys that are no scalars are refused by PyYAML itself, `<<` is no key but a merge.
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise DuplicateKey(f"{key}: given twice (line {key_node.start_mark.line + 1}), expected it once")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the file (None: defaults only) and the environment; raises ConfigError with every mistake."""
    stamps: files.Stamps = {path: files.stamp_of(path)} if path else {}
    try:
        data = read_yaml(path) if path else {}
        overlay(data, os.environ if environ is None else environ)
        return check(data, path.parent if path else Path(), stamps)
    except ConfigError as error:
        error.stamps = stamps
        raise


def read_yaml(path: Path) -> dict[str, Any]:
    """The file as a mapping; ConfigError says what it is instead."""
    try:
        data = parse_yaml(files.decode(files.read(path, files.MAX_CONFIG_BYTES)), str(path))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}, expected a YAML file"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8, expected a YAML file"]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError([f"{path}: is {kind_of(data)}, expected a mapping of keys"])
    return data


def parse_yaml(text: str, name: str) -> Any:
    """YAML as plain values; ConfigError names where it stands, and never shows what it says."""
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError([f"{name}: is not YAML{where}: {problem}"]) from None
    except DuplicateKey as error:
        raise ConfigError([f"{name}: {error}" if name.startswith(ENV_PREFIX) else str(error)]) from None
    # What PyYAML does not check: dates that do not exist, numbers that are too long, values nested too deeply.
    except (ValueError, OverflowError, RecursionError):
        problem = "has a value that is out of range or nested too deeply, expected an ordinary date, number or list"
        raise ConfigError([f"{name}: {problem}"]) from None


def overlay(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Lays `WAWP_EXPORTER_A__B=value` over `a.b`; the value is read as YAML, an empty one means null."""
    for name in sorted(environ):
        key = name.removeprefix(ENV_PREFIX)
        if key == name or key in ENV_NOT_KEYS:
            continue
        put(data, key.split("__"), parse_yaml(environ[name], name))


def put(data: dict[str, Any], path: list[str], value: object) -> None:
    """Sets one nested key; existing keys are matched without regard to case, as environments are upper-case."""
    *parents, last = path
    for part in parents:
        key = same_key(data, part)
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    data[same_key(data, last)] = value


def same_key(data: Mapping[Any, Any], name: str) -> str:
    """The key of `data` that equals `name` but for case, else `name` in lower case."""
    return next((key for key in data if isinstance(key, str) and key.lower() == name.lower()), name.lower())


def check(data: dict[str, Any], base: Path = Path(), stamps: files.Stamps | None = None) -> Settings:
    """Checks a raw mapping as a whole: mistakes of form, then those between sections that have none.

    `stamps` is given those of the files that are read.
    """
    secrets: dict[str, tuple[bytes, ...]] = {}
    stamps = {} if stamps is None else stamps
    context = {"base": base, "secrets": secrets, "stamps": stamps}
    mistakes: list[str] = []
    bad: set[object] = set()
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        mistakes = [describe(problem) for problem in error.errors(include_url=False)]
        bad = {str(problem["loc"][0]) for problem in error.errors(include_url=False)}
        sound = {key: value for key, value in data.items() if str(key) not in bad}
        config = Config.model_validate(sound, context=context)
    mistakes += cross_check(config, bad)
    if mistakes:
        raise ConfigError(mistakes)
    return Settings(config, secrets_of(config, secrets), stamps)
