"""The same samples held in prometheus_client's labelled children, and rendered and compressed by itself."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, make_asgi_app
from prometheus_client.parser import text_string_to_metric_families

disable_created_metrics()
registry = CollectorRegistry()
for family in text_string_to_metric_families(Path(os.environ["BENCH_SAMPLES"]).read_text()):
    if not family.name.startswith("wawp_session_") or family.type not in ("gauge", "counter") or not family.samples:
        continue
    names = list(family.samples[0].labels)
    metric = {"gauge": Gauge, "counter": Counter}[family.type](family.name, "Help.", names, registry=registry)
    for sample in family.samples:
        child = metric.labels(**sample.labels)
        child.inc(sample.value) if family.type == "counter" else child.set(sample.value)
app = make_asgi_app(registry)
