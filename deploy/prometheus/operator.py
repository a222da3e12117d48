"""The alert rules as the Prometheus Operator's resource: ``python -m deploy.prometheus.operator`` writes it."""

import io
from pathlib import Path

from ruamel.yaml import YAML

_RULES = Path(__file__).with_name("alerts.yml")
FILE = _RULES.parents[1] / "kubernetes/components/monitoring/alerts.yaml"
_NOTE = "# Derived by `make manifests` from deploy/prometheus/alerts.yml: change that.\n"


def derived() -> str:
    """Return what the file must hold."""
    reading, writing = YAML(typ="safe", pure=True), YAML()
    writing.indent(mapping=2, sequence=4, offset=2)
    writing.width = 4096  # Else long texts are folded, and hard to compare.
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "finetune-worker"},
        "spec": reading.load(_RULES.read_text()),
    }
    text = io.StringIO()
    writing.dump(resource, text)
    return _NOTE + text.getvalue()


if __name__ == "__main__":
    FILE.write_text(derived())
