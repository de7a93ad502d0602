"""Native histograms with custom buckets (NHCB): which Prometheus makes them of classic ones, and how it is told to."""

from collections.abc import Mapping

import httpx

from wawp_exporter.setup.versions import PATIENCE_S, Version

# convert_classic_histograms_to_nhcb. Until 3.7 a server without the feature flag drops every converted histogram.
SINCE = Version(3, 0)
# Before it histogram_count(), which rules and dashboards use, could be negative (prometheus#16682).
SOUND_SINCE = Version(3, 5)
# From here on the feature flag does nothing, and the scrape job says everything.
WITHOUT_FLAG_SINCE = Version(3, 8)
FEATURE = "native-histograms"
CONVERT = "convert_classic_histograms_to_nhcb"


def keys(version: Version) -> dict[str, bool]:
    """What a scrape job needs so that this Prometheus stores each histogram as one series."""
    scrape = {"scrape_native_histograms": True} if version >= WITHOUT_FLAG_SINCE else {}
    return {**scrape, CONVERT: True}


def flags(version: Version) -> list[str]:
    """What its command line needs."""
    return [] if version >= WITHOUT_FLAG_SINCE else [f"--enable-feature={FEATURE}"]


def advised(version: Version, feature: bool) -> bool:
    """Whether they are the better choice: there, sound, and not dropped for want of the feature flag."""
    return version >= WITHOUT_FLAG_SINCE or (version >= SOUND_SINCE and feature)


def enabled(url: str) -> bool | None:
    """Whether the feature flag is given to the server at this URL; None if nobody there says so."""
    try:
        answer = httpx.get(f"{url}/api/v1/status/flags", timeout=PATIENCE_S, trust_env=False).raise_for_status()
        return has_feature(answer.json()["data"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
        return None


def has_feature(given: Mapping[str, str]) -> bool:
    """Whether the feature flag is among the flags of a server, as its API lists them."""
    return FEATURE in given.get("enable-feature", "").split(",")
