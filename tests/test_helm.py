"""The chart, with the real Helm: linted, rendered in each shape, held to Kubernetes' schemas, and started."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel

from scripts import chart as generator
from tests import parts
from wawp_exporter.setup.routing import template

CHART = parts.ROOT / "helm" / "wawp-exporter"
SHAPES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.27", "1.31", "1.34")
KEYS = {"secrets": {"files": {"hmac.keys": "a-key"}}}
OPERATORS = {"ServiceMonitor": "v1", "PodMonitor": "v1", "PrometheusRule": "v1", "AlertmanagerConfig": "v1alpha1"}


def model(version: str, name: str) -> type[BaseModel]:
    """A resource of Prometheus Operator; its models take seconds to import, which every worker would spend."""
    found: type[BaseModel] = getattr(import_module(f"cloudcoil.models.prometheus_operator.{version}"), name)
    return found


def values_of(shape: str) -> dict[str, Any]:
    """The values of a file of ci/."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{shape}-values.yaml").read_text())
    return values


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifests that Helm makes of the values."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="rel", namespace="ns")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@cache
def manifests(shape: str) -> list[dict[str, Any]]:
    """Those of a shape."""
    return rendered(values_of(shape))


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The manifests of a kind."""
    return [document for document in documents if document["kind"] == kind]


def only(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one manifest of a kind."""
    (found,) = of_kind(documents, kind)
    return found


# -- its form


@pytest.mark.parametrize("shape", SHAPES)
def test_lint_has_nothing_to_say(shape: str) -> None:
    """Neither errors nor warnings."""
    report = helm.lint(str(CHART), values_of(shape), kube_version="v1.31.0")

    assert [message for message in report["messages"] if message["severity"] >= 2] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("shape", SHAPES)
def test_kubernetes_takes_every_manifest(shape: str, version: str) -> None:
    """By the strict schemas of three versions; custom resources by their own definitions."""
    unknown = set()
    for document in manifests(shape):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(document["kind"])

    assert unknown <= {*OPERATORS, "HTTPRoute"}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_operator_takes_its_resources(shape: str) -> None:
    """By the models of its custom resource definitions, which drop what they do not know."""
    for document in manifests(shape):
        if (kind := document["kind"]) in OPERATORS:
            assert understood(model(OPERATORS[kind], kind), document) == document


def understood(model: type[BaseModel], document: dict[str, Any]) -> dict[str, Any]:
    """What is left of a document that a model has read."""
    return model.model_validate(document).model_dump(by_alias=True, exclude_unset=True, mode="json")


def test_the_operator_takes_routes_below_routes() -> None:
    """Which its definition leaves open."""
    for route in only(manifests("operator"), "AlertmanagerConfig")["spec"]["route"]["routes"]:
        assert understood(model("v1alpha1", "Route"), route) == route


def test_the_webhook_path_is_all_that_faces_the_world() -> None:
    """Ingress and HTTPRoute lead to the listener that answers nothing else."""
    documents = manifests("public")
    (rule,) = only(documents, "Ingress")["spec"]["rules"]
    (route,) = only(documents, "HTTPRoute")["spec"]["rules"]

    assert [(path["path"], path["backend"]["service"]["port"]["name"]) for path in rule["http"]["paths"]] == [
        ("/webhook", "webhooks")
    ]
    assert route["matches"] == [{"path": {"type": "PathPrefix", "value": "/webhook"}}]
    assert route["backendRefs"] == [{"name": "rel-wawp-exporter-webhooks", "port": 10012}]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pods_are_confined(shape: str) -> None:
    """Non-root, a root file system that cannot be written, no capability, no token."""
    pod = only(manifests(shape), "StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"


@pytest.mark.parametrize("shape", SHAPES)
def test_services_lead_to_exporters_only(shape: str) -> None:
    """To every pod of the StatefulSet, and not to the one of `helm test`."""
    documents = manifests(shape)
    pods = [only(documents, "StatefulSet")["spec"]["template"], only(documents, "Pod")]

    for service in of_kind(documents, "Service"):
        selector = service["spec"]["selector"].items()
        assert [selector <= pod["metadata"]["labels"].items() for pod in pods] == [True, False]


def test_a_closed_metrics_port_lets_the_charts_own_test_in() -> None:
    """Beside those whom the values name."""
    documents = manifests("public")
    labels = only(documents, "Pod")["metadata"]["labels"]

    (_, metrics) = only(documents, "NetworkPolicy")["spec"]["ingress"]

    assert [peer["podSelector"]["matchLabels"] for peer in metrics["from"] if "podSelector" in peer] == [labels]


def test_more_of_the_endpoint_does_not_lose_the_jobs_name() -> None:
    """The rules go by it."""
    more = {"scheme": "https", "relabelings": [{"targetLabel": "cluster", "replacement": "a"}]}
    documents = rendered({**KEYS, "serviceMonitor": {"enabled": True, "endpoint": more}})

    (endpoint,) = only(documents, "ServiceMonitor")["spec"]["endpoints"]

    assert (endpoint["scheme"], endpoint["port"]) == ("https", "metrics")
    assert [each["targetLabel"] for each in endpoint["relabelings"]] == ["cluster", "job"]


@pytest.mark.parametrize(("value", "kind"), [("serviceMonitor", "ServiceMonitor"), ("podMonitor", "PodMonitor")])
def test_monitors_take_every_field_of_the_spec(value: str, kind: str) -> None:
    """Also those that are newer than this chart. Selector and endpoints are its own, and so is the job's name."""
    given = {
        "enabled": True,
        "annotations": {"a": "b"},
        "interval": "7s",
        "scrapeTimeout": "6s",
        "jobLabel": "team",
        "honorLabels": True,
        "relabelings": [{"targetLabel": "job", "replacement": "other"}],
        "metricRelabelings": [{"regex": "python_.*", "sourceLabels": ["__name__"], "action": "drop"}],
        "spec": {"scrapeClassicHistograms": True, "convertClassicHistogramsToNHCB": True, "sampleLimit": 9},
    }

    monitor = only(rendered({value: given}), kind)

    endpoints = [monitor["spec"].pop(name) for name in ("endpoints", "podMetricsEndpoints") if name in monitor["spec"]]
    assert monitor["metadata"]["annotations"] == {"a": "b"}
    assert monitor["spec"].pop("selector")["matchLabels"]["app.kubernetes.io/instance"] == "rel"
    assert monitor["spec"] == {**given["spec"], "jobLabel": "team"}
    ((endpoint,),) = endpoints
    assert endpoint == {
        "port": "metrics",
        "path": "/metrics",
        "interval": "7s",
        "scrapeTimeout": "6s",
        "honorLabels": True,
        "metricRelabelings": given["metricRelabelings"],
        "relabelings": [*given["relabelings"], {"targetLabel": "job", "replacement": "wawp-exporter"}],
    }


# -- the webhook key


KEY_SECRET = "rel-wawp-exporter-webhook-key"


class Cluster:
    """As much of a Kubernetes API as Helm's `lookup` asks for: which resources there are, and one Secret."""

    def __init__(self, secret: Mapping[str, Any] | None) -> None:
        self.answers: dict[str, Any] = {
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [SECRETS]},
            "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        }
        if secret:
            self.answers[f"/api/v1/namespaces/ns/secrets/{KEY_SECRET}"] = secret
        self.asked: list[str] = []

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Answers as the API does."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                cluster.asked.append(path)
                missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(cluster.answers.get(path, missing)).encode()
                self.send_response(200 if path in cluster.answers else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


SECRETS = {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ["get"]}


def key_in(secret: Mapping[str, Any] | None) -> str:
    """The webhook key that the chart puts into its Secret where this one is in the cluster."""
    cluster = Cluster(secret)
    with parts.serving(cluster.handler()) as api, helm.Chart.load(str(CHART)) as chart:
        server = {"server": f"http://127.0.0.1:{api.server_port}"}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": server}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
            "current-context": "x",
        }
        config = helm.Config(kubeconfig_content=json.dumps(kubeconfig), namespace="ns")
        try:
            files = config.render(chart, {}, name="rel", namespace="ns", is_upgrade=True)
        finally:
            config.close()
    assert f"/api/v1/namespaces/ns/secrets/{KEY_SECRET}" in cluster.asked
    (made,) = (each for each in yaml.safe_load_all(files["wawp-exporter/templates/secret.yaml"]) if each)
    return base64.b64decode(made["data"]["hmac.keys"]).decode()


def test_without_any_value_a_key_is_made() -> None:
    """It is long, another one each time, mounted where the configuration reads it, and stays when the release goes."""
    keys = set()
    for _ in range(2):
        documents = rendered({})
        secret = only(documents, "Secret")
        pod = only(documents, "StatefulSet")["spec"]["template"]["spec"]
        (mounted,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
        config = yaml.safe_load(only(documents, "ConfigMap")["data"]["wawp-exporter.yml"])
        keys.add(base64.b64decode(secret["data"]["hmac.keys"]))

        assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert mounted["projected"]["sources"] == [{"secret": {"name": KEY_SECRET}}]
        assert config["sources"]["default"]["hmac_keys_file"] == "/etc/wawp-exporter/secrets/hmac.keys"

    assert [len(key) for key in keys] == [48, 48]


def test_an_upgrade_keeps_the_key() -> None:
    """The gateway signs with the one that it was given; the chart finds it in the cluster."""
    old = base64.b64encode(b"the-first-key").decode()

    kept = key_in({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": KEY_SECRET}, "data": {"hmac.keys": old}})

    assert kept == "the-first-key"
    assert len(key_in(None)) == 48
    assert len(key_in({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": KEY_SECRET}})) == 48


@pytest.mark.parametrize(
    ("values", "mounted"),
    [
        ({}, [KEY_SECRET]),
        (KEYS, ["rel-wawp-exporter"]),
        ({"secrets": {"existingSecret": "mine"}}, ["mine"]),
        ({"secrets": {"files": {"api.token": "a-token"}}}, ["rel-wawp-exporter", KEY_SECRET]),
        ({"config": {"sources": {"a": {"allow_unsigned": True}}}}, []),
        ({"config": {"sources": {"a": {"hmac_keys_file": "/etc/wawp-exporter/secrets/hmac.keys"}}}}, [KEY_SECRET]),
    ],
)
def test_a_key_is_made_only_where_none_is_given(values: dict[str, Any], mounted: list[str]) -> None:
    """Other files of a Secret are beside it."""
    documents = rendered(values)

    volumes = only(documents, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    sources = [each for volume in volumes for each in volume.get("projected", {}).get("sources", [])]

    assert [source["secret"]["name"] for source in sources] == mounted
    made = {secret["metadata"]["name"] for secret in of_kind(documents, "Secret")}
    assert made == set(mounted) - {"mine"}


@pytest.mark.parametrize(
    ("values", "secret", "url"),
    [
        ({}, KEY_SECRET, "http://rel-wawp-exporter-webhooks.ns:10012/webhook"),
        ({"secrets": {"existingSecret": "mine"}}, "mine", "http://rel-wawp-exporter-webhooks.ns:10012/webhook"),
        (
            {"ingress": {"enabled": True, "hosts": ["hooks.example"], "tls": [{}]}},
            KEY_SECRET,
            "https://hooks.example/webhook",
        ),
    ],
)
def test_the_notes_say_what_to_paste(values: dict[str, Any], secret: str, url: str) -> None:
    """Where the key is, as a command, and the gateway's environment; the key itself is not shown."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="rel", namespace="ns")

    notes = files["wawp-exporter/templates/NOTES.txt"]
    assert f"kubectl -n ns get secret {secret} -o jsonpath='{{.data.hmac\\.keys}}' | base64 -d" in notes
    assert f"WHATSAPP_HOOK_URL={url}\n" in notes
    assert "WHATSAPP_HOOK_HMAC_KEY=<the key>" in notes


def test_the_example_of_the_docs_renders() -> None:
    """As it stands in docs/kubernetes.md."""
    (example, *_) = re.findall(r"```yaml\n(.*?)```", (parts.ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)

    kinds = {document["kind"] for document in rendered(yaml.safe_load(example))}

    assert {"StatefulSet", "Ingress", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"} <= kinds


def test_a_changed_configuration_makes_new_pods() -> None:
    """Its checksum stands in the template."""
    pods = [only(rendered({**KEYS, "config": {"timezone": zone}}), "StatefulSet") for zone in ("UTC", "Asia/Tokyo")]

    checksums = [pod["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for pod in pods]
    assert checksums[0] != checksums[1]


def test_replicas_and_shards_are_pods() -> None:
    """Three shards of two; each finds its shard by its ordinal, and the URL comes from a Secret."""
    stateful = only(manifests("postgresql"), "StatefulSet")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    config = yaml.safe_load(only(manifests("postgresql"), "ConfigMap")["data"]["wawp-exporter.yml"])

    assert stateful["spec"]["replicas"] == 6
    assert config["shard"] == {"index": "auto", "total": 3}
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "wawp-database", "key": "url"}
    assert "volumeClaimTemplates" not in stateful["spec"]


# -- what is wrong


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**KEYS, "replicas": 2}, "SQLite takes one replica of one shard: set database.kind to postgresql"),
        ({**KEYS, "shards": 2}, "SQLite takes one replica of one shard"),
        ({**KEYS, "database": {"kind": "postgresql"}}, "set database.existingSecret"),
        ({**KEYS, "ingress": {"enabled": True}}, "ingress.hosts is empty"),
        ({**KEYS, "httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty"),
        ({**KEYS, "serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "scrape everything twice"),
        (
            {**KEYS, "alertmanagerConfig": {"enabled": True, "receivers": {"nobody": {}}}},
            "alertmanagerConfig.receivers.nobody: no route goes there, expected one of",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_made(values: dict[str, Any], said: str) -> None:
    """In words that tell what to set."""
    with pytest.raises(helm.HelmError, match=said):
        rendered(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 0}, "/replicas"),
        ({"replica": 1}, "replica"),
        ({"database": {"kind": "mysql"}}, "/database/kind"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"service": {"metrics": {"port": "http"}}}, "/service/metrics/port"),
        ({"serviceMonitor": {"interval": "15"}}, "/serviceMonitor/interval"),
        ({"serviceMonitor": {"spec": {"endpoints": []}}}, "invalid propertyName 'endpoints'"),
        ({"podMonitor": {"relabelings": {}}}, "/podMonitor/relabelings"),
        ({"config": []}, "/config"),
        ({"config": {"thresholds": {"startin": "3m"}}}, "/config/thresholds.*startin"),
        ({"config": {"thresholds": {"starting": "3 minutes"}}}, "/config/thresholds/starting"),
        ({"config": {"sources": {"a": {"dialect": "telegram"}}}}, "/config/sources/a/dialect"),
        ({"config": {"maintenance": [{"from": "2026-12-01T02:00:00Z"}]}}, "/config/maintenance/0.*to"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], said: str) -> None:
    """By the schema, with its path."""
    with pytest.raises(helm.HelmError, match=said):
        rendered(values)


# -- what it carries


def test_the_copies_are_those_of_the_sources(tmp_path: Path) -> None:
    """`make chart` renews rules, dashboards, routing, README and what the schema has of the configuration."""
    (tmp_path / "files").mkdir()
    generator.make(tmp_path)

    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    kept = {path.relative_to(CHART): path.read_text() for path in (CHART / "files").rglob("*") if path.is_file()}
    kept |= {Path(name): (CHART / name).read_text() for name in ("README.md", "values.schema.json")}
    assert made == kept


def test_every_value_is_described_and_in_the_schema() -> None:
    """Nothing can be set that the README does not tell."""

    def leaves(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
        for name, inner in schema["properties"].items():
            if "properties" in inner:
                yield from leaves(inner, (*path, name))
            else:
                yield ".".join((*path, name))

    schema = json.loads((CHART / "values.schema.json").read_text())
    told = [key for key, _, _ in generator.described((CHART / "values.yaml").read_text())]

    assert sorted(told) == sorted(key for key in leaves(schema) if key != "global")


def test_the_rules_are_the_shipped_ones(promtool: Path, tmp_path: Path) -> None:
    """But for the alerts that are switched off and the labels that are added; Prometheus takes them."""
    rule = only(manifests("operator"), "PrometheusRule")
    shipped = [
        each
        for path in sorted((parts.ROOT / "alerts").glob("*.rules.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for each in group["rules"]
    ]
    off = {"WawpWatchdog", "WawpSlowStarts"}
    made = [each for group in rule["spec"]["groups"] for each in group["rules"]]

    assert made == [
        {**each, "labels": {**each["labels"], "team": "messaging", "namespace": "ns"}} if "alert" in each else each
        for each in shipped
        if each.get("alert") not in off
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    subprocess.run([promtool, "check", "rules", path], check=True, capture_output=True)


def test_the_dashboards_are_the_shipped_ones() -> None:
    """Each a ConfigMap that Grafana's sidecar finds."""
    found = of_kind(manifests("operator"), "ConfigMap")

    labelled = [each for each in found if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    texts = {name: text for each in labelled for name, text in each["data"].items()}

    assert texts == {
        f"wawp-{path.name}": path.read_text() for path in (parts.ROOT / "grafana" / "dashboards").glob("*.json")
    }


@pytest.mark.parametrize(
    "web", [{"external_url": "https://tools.example/wawp", "grafana_url": "https://grafana.example"}, {}]
)
def test_messages_have_the_links_of_the_configuration(web: dict[str, str], amtool: Path, tmp_path: Path) -> None:
    """The templates as `wawp-exporter setup` fills them; Alertmanager takes them."""
    documents = rendered({"config": {"web": web}, "alertmanagerConfig": {"enabled": True}})
    links = {f"wawp.{name}": web.get(name, "") for name in ("external_url", "grafana_url")}

    (made,) = (
        each for each in of_kind(documents, "ConfigMap") if each["metadata"]["name"] == "rel-wawp-exporter-messages"
    )

    shipped = {path.name: path.read_text() for path in (parts.ROOT / "alerts" / "templates").glob("*.tmpl")}
    assert made["data"] == {name: template(text, links, "") for name, text in shipped.items()}
    (tmp_path / "wawp.tmpl").write_text(made["data"]["wawp.tmpl"])
    (tmp_path / "alertmanager.yml").write_text("{route: {receiver: a}, receivers: [{name: a}], templates: ['*.tmpl']}")
    subprocess.run([amtool, "check-config", tmp_path / "alertmanager.yml"], check=True, capture_output=True)


def test_every_route_leads_to_a_receiver() -> None:
    """And what a receiver does is what the values say."""
    spec = only(manifests("operator"), "AlertmanagerConfig")["spec"]
    names = {receiver["name"] for receiver in spec["receivers"]}

    routed = {route["receiver"] for route in [spec["route"], *spec["route"]["routes"]]}

    assert routed <= names
    (oncall,) = [receiver for receiver in spec["receivers"] if receiver["name"] == "it-oncall"]
    assert oncall["pagerdutyConfigs"]


# -- it runs


def located(shape: str, folder: Path) -> tuple[str, dict[str, str]]:
    """The rendered configuration with its paths and ports moved to this machine, and the container's environment."""
    documents = manifests(shape)
    config = of_kind(documents, "ConfigMap")[0]["data"]["wawp-exporter.yml"]
    secrets = folder / "secrets"
    secrets.mkdir()
    given = values_of(shape).get("secrets", {}).get("files") or {"hmac.keys": "a-key"}
    for name, content in given.items():
        (secrets / name).write_text(content)
    for old, new in {
        "/etc/wawp-exporter/secrets": str(secrets),
        "/data/": f"{folder}/",
        "0.0.0.0:10011": f"127.0.0.1:{parts.free_port()}",
        "0.0.0.0:10012": f"127.0.0.1:{parts.free_port()}",
    }.items():
        config = config.replace(old, new)
    env = {"WAWP_EXPORTER_SHARD__INDEX": "0"} if "auto" in config else {}
    if values_of(shape).get("database", {}).get("kind") == "postgresql":
        env["WAWP_EXPORTER_DATABASE__URL"] = "postgresql://wawp:secret@127.0.0.1/wawp"
    return config, env


@pytest.mark.parametrize("shape", SHAPES)
def test_the_rendered_configuration_is_good(shape: str, tmp_path: Path) -> None:
    """By the service's own check."""
    config, env = located(shape, tmp_path)
    (tmp_path / "wawp-exporter.yml").write_text(config)
    command = [sys.executable, "-m", "wawp_exporter", "check-config", str(tmp_path / "wawp-exporter.yml")]

    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shape", ["sqlite", "postgresql"])
def test_the_containers_command_starts_the_service(
    shape: str, tmp_path: Path, exporter: Any, postgres: parts.Postgres
) -> None:
    """As the pod would: arguments, configuration, environment; it is ready and takes a signed webhook."""
    config, env = located(shape, tmp_path)
    if "WAWP_EXPORTER_DATABASE__URL" in env:
        env["WAWP_EXPORTER_DATABASE__URL"] = postgres.create_database("helm")
    (container,) = only(manifests(shape), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["serve", "--config", "/etc/wawp-exporter/wawp-exporter.yml"]
    given = yaml.safe_load(config)
    if "WAWP_EXPORTER_DATABASE__URL" in env:
        given["database"] = {"url": env["WAWP_EXPORTER_DATABASE__URL"]}

    running = exporter(given, env=env)

    key = next(iter((values_of(shape).get("secrets", {}).get("files") or {"hmac.keys": "a-key"}).values()))
    assert running.post(parts.envelope(), key=key).status_code == 200
    assert running.get("/-/ready").status_code == 200
    (test,) = only(manifests(shape), "Pod")["spec"]["containers"]
    program = test["args"][0].replace("http://rel-wawp-exporter:10011", running.url)
    subprocess.run([sys.executable, *test["command"][1:], program], check=True)
