"""The OpenAPI document, made from the table of operations that also makes the routes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wawp_exporter import __version__

PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")
PARTS = "#/components/schemas/{name}"


class ErrorBody(msgspec.Struct, frozen=True):
    """What every error is answered with."""

    error: str


@dataclass(frozen=True)
class Answer:
    """One way to answer: what it means, and its body: a type for JSON, or the media types of anything else."""

    meaning: str
    body: type | None = None
    media: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One method of one path. `path` is Starlette's; `query` is a struct whose fields are the parameters."""

    method: str
    path: str
    summary: str
    answers: dict[int, Answer] = field(default_factory=dict)
    query: type[msgspec.Struct] | None = None
    secured: bool = True
    body: dict[str, Any] | None = None


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """OpenAPI 3.1 of these operations."""
    types = {answer.body for each in operations for answer in each.answers.values() if answer.body} | {ErrorBody}
    types |= {each.query for each in operations if each.query}
    ordered = sorted(types, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=PARTS)
    named = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        told = describe(each, named, components)
        paths.setdefault(PLACE.sub(r"{\1}", each.path), {})[each.method.lower()] = told
    queries = {each.query.__name__ for each in operations if each.query}
    return {
        "openapi": "3.1.0",
        "info": {"title": "wawp-exporter", "version": __version__, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The token is the password."},
            },
        },
    }


def describe(operation: Operation, named: dict[type, Any], components: dict[str, Any]) -> dict[str, Any]:
    """One operation."""
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation_id(operation),
        "parameters": [in_path(name) for name in PLACE.findall(operation.path)],
        "responses": {str(status): respond(answer, named) for status, answer in sorted(all_answers(operation).items())},
    }
    if operation.query:
        found["parameters"] += in_query(components[operation.query.__name__])
    if operation.body:
        found["requestBody"] = operation.body
    if operation.secured:
        found["security"] = [{}, {"bearer": []}, {"basic": []}]
    return found


def operation_id(operation: Operation) -> str:
    """`GET /api/v1/sessions/{source}` → `get_sessions_source`."""
    words = re.findall(r"[a-z]+", PLACE.sub(r"\1", operation.path).replace("/api/v1", ""))
    return "_".join([operation.method.lower(), *words])


def all_answers(operation: Operation) -> dict[int, Answer]:
    """Those of the table, and those that every operation of its kind has."""
    common: dict[int, Answer] = {}
    if operation.secured:
        common[401] = Answer("The token is missing or wrong.", ErrorBody, headers=("WWW-Authenticate",))
    if operation.query:
        common[400] = Answer("A parameter is wrong; the error names it and what was expected.", ErrorBody)
    return common | operation.answers


def respond(answer: Answer, named: dict[type, Any]) -> dict[str, Any]:
    """One answer."""
    found: dict[str, Any] = {"description": answer.meaning}
    if answer.body:
        found["content"] = {"application/json": {"schema": named[answer.body]}}
    if answer.media:
        found.setdefault("content", {}).update({media: {"schema": {"type": "string"}} for media in answer.media})
    if answer.headers:
        found["headers"] = {name: {"schema": {"type": "string"}} for name in answer.headers}
    return found


def in_path(name: str) -> dict[str, Any]:
    """A parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def in_query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a struct as parameters of the query."""
    found = []
    for name, told in schema["properties"].items():
        plain = {key: value for key, value in told.items() if key not in ("description", "default")}
        plain = without_null(plain)
        found.append({"name": name, "in": "query", "description": told.get("description", ""), "schema": plain})
    return found


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is absent, not null."""
    options = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    return options[0] if len(options) == 1 else schema
