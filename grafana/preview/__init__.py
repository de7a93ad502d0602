"""A plain drawing of the dashboards for those who build them; no part of the product, and not Grafana."""
