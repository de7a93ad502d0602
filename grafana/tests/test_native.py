"""Quantiles of a Prometheus that converts classic histograms to native ones (`convert_classic_histograms_to_nhcb`)."""

import json
import re
import subprocess
from pathlib import Path

from grafana.tests import boards
from grafana.tests.boards import Query
from tests import parts

# Ten observations, all from 10 to 20 s, between two scrapes.
SAMPLES = [f"{{{{schema:-53 sum:{15 * n} count:{n} custom_values:[10 20] buckets:[0 {n} 0]}}}}" for n in (0, 0, 10, 10)]
VALUES = {"job": ".*", "source": ".*", "engine": ".*"}


def asked(query: Query) -> dict[str, object]:
    """The query with the value that is right: what lies between the edges is taken to be spread evenly."""
    share = float(re.search(r"histogram_quantile\((0\.\d+)", query.expr)[1])  # type: ignore[index]
    return {
        "expr": boards.put_in(query.expr, VALUES, 3600, 300, 60),
        "eval_time": "3m",
        "exp_samples": [{"labels": "{}", "value": 10 + 10 * share}],
    }


def test_quantiles_are_of_native_histograms_too(tmp_path: Path) -> None:
    """Two replicas observe the same of the fleet, and the exporter's own each for itself; both give one figure."""
    found = [query for query in boards.queries() if "_bucket" in query.expr]
    metrics = {name for query in found for name in re.findall(r"(\w+)_bucket", query.expr)}
    labels = 'job="wawp-exporter",source="default",engine="GOWS",outcome="working"'
    series = [
        {"series": f'{metric}{{{labels},instance="{instance}"}}', "values": " ".join(SAMPLES)}
        for metric in sorted(metrics)
        for instance in ("a:1", "b:1")
    ]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": [asked(query) for query in found]}
    file = tmp_path / "native.json"
    file.write_text(json.dumps({"evaluation_interval": "1m", "tests": [case]}))
    promtool = parts.require("promtool", "forky")
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)

    assert len(found) == 12
    assert done.returncode == 0, done.stdout + done.stderr
