"""Prometheus exporter and alerting sidecar for WhatsApp sessions (Wawp and WAHA)."""

__version__ = "0.1.0"
