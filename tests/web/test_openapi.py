"""The OpenAPI document against the running service."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

from tests import parts
from tests.web.test_api import GROUPS, fill
from wawp_exporter.web.app import DOCUMENT
from wawp_exporter.web.openapi import PLACE
from wawp_exporter.web.operations import OPERATIONS, WEBHOOKS

SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
# A stream does not end by itself; tests/test_stream.py reads it.
ENDLESS = "/api/v1/events"
CONFORMANCE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """A service with something to find."""
    config = {"groups": GROUPS, "sources": {"default": {}, "other": {}}, "web": {"enable_lifecycle": True}}
    with parts.Exporter(config, tmp_path_factory.mktemp("openapi")) as exporter:
        fill(exporter)
        yield exporter


@SCHEMA.exclude(path=ENDLESS).parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: Any, service: parts.Exporter) -> None:
    """Whatever is asked: no 5xx but a 503 that is meant, and the status, type and shape that the document names."""
    answer = case.call(base_url=service.url, timeout=parts.PATIENCE_S)

    assert answer.status_code in range(500) or answer.status_code == 503, answer.text
    case.validate_response(answer, checks=CONFORMANCE)


def test_no_answer_is_an_internal_error(service: parts.Exporter) -> None:
    """After all that was asked above, nothing has gone wrong inside."""
    assert "request failed" not in service.stderr
    assert "Traceback" not in service.stderr


def test_the_document_names_every_path_of_the_contract() -> None:
    """All that is answered now; what belongs to later issues is not promised."""
    told = {(each.method, PLACE.sub(r"{\1}", each.path)) for each in (*OPERATIONS, *WEBHOOKS)}

    assert told >= {
        ("GET", "/metrics"),
        ("GET", "/-/healthy"),
        ("GET", "/-/ready"),
        ("POST", "/-/reload"),
        ("GET", "/api/v1/sessions"),
        ("GET", "/api/v1/sessions/{source}/{session}"),
        ("DELETE", "/api/v1/sessions/{source}/{session}"),
        ("GET", "/api/v1/sessions/{source}/{session}/ready"),
        ("GET", "/api/v1/groups/{group}/active"),
        ("GET", "/api/v1/transitions"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/openapi.json"),
        ("POST", "/webhook/{source}"),
    }
    assert {path for _, path in told} == set(DOCUMENT["paths"])


def test_the_document_is_served(service: parts.Exporter) -> None:
    """As it is made."""
    served = service.client.get(f"{service.url}/api/openapi.json").json()

    assert served["openapi"].startswith("3.1")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", served["info"]["version"])
    assert set(served["paths"]) == set(DOCUMENT["paths"])


def test_the_address_that_people_use_is_told(exporter: Callable[..., parts.Exporter]) -> None:
    """`web.external_url`: what the document's readers call, and what is printed at the start."""
    running = exporter({"web": {"external_url": "https://wawp.example/"}})

    served = running.client.get(f"{running.url}/api/openapi.json").json()

    assert served["servers"] == [{"url": "https://wawp.example"}]
    assert re.search(r"^Fleet page +https://wawp\.example/$", running.stderr, re.MULTILINE)
