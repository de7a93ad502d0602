"""All cases of all topics, in one list."""

import cases_exporter
import cases_feed
import cases_fleet
import cases_session
import cases_slo
from cases import CASES

__all__ = ["CASES", "cases_exporter", "cases_feed", "cases_fleet", "cases_session", "cases_slo"]
