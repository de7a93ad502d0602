"""Colours, statuses, limits: what the same thing looks like on every panel."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

# Okabe and Ito's palette, as the exporter's pages have it (`static/wawp.css`); a test compares the two.
STATUS_COLOURS = {
    "WORKING": "#009e73",
    "STARTING": "#56b4e9",
    "SCAN_QR_CODE": "#e69f00",
    "PASSKEY_REQUIRED": "#e69f00",
    "PASSKEY_CONFIRMATION_REQUIRED": "#e69f00",
    "FAILED": "#d55e00",
    "DISCONNECTED": "#cc79a7",
    "STOPPED": "#999999",
    "UNKNOWN": "#f0e442",
}
# A status as a number, for panels that draw numbers. The higher one wins where two replicas disagree for a moment.
STATUS_CODES = {
    "STOPPED": 1,
    "WORKING": 2,
    "UNKNOWN": 3,
    "STARTING": 4,
    "SCAN_QR_CODE": 5,
    "PASSKEY_REQUIRED": 6,
    "PASSKEY_CONFIRMATION_REQUIRED": 7,
    "FAILED": 8,
    "DISCONNECTED": 9,
}
GOOD, WARNING, BAD, NEUTRAL = (STATUS_COLOURS[name] for name in ("WORKING", "SCAN_QR_CODE", "FAILED", "STARTING"))
SEVERITY_COLOURS = {"critical": BAD, "warning": WARNING, "info": NEUTRAL}

Steps = tuple[tuple[float | None, str], ...]
# From this value on, this colour; None is "from below everything".
ALL_IS_GOOD: Steps = ((None, BAD), (0.001, WARNING), (1, GOOD))
# Of a span with figures: below it, an uptime is one of less than was asked for.
KNOWN: Steps = ((None, WARNING), (0.99, NEUTRAL))
ANY_IS_A_WARNING: Steps = ((None, GOOD), (1, WARNING))
ANY_IS_BAD: Steps = ((None, GOOD), (1, BAD))
ONE_IS_GOOD: Steps = ((None, BAD), (1, GOOD))
PLAIN: Steps = ((None, NEUTRAL),)
# Per cent of the way from `2 * objective - 1` to 1: half of it is the objective, and below 0 more than twice as much is
# lost as it allows. Grafana 11 takes no such threshold from a query, but the least value of a scale (`by_objective`).
OBJECTIVE: Steps = ((None, BAD), (0, WARNING), (50, GOOD))


def limit(value: float, colour: str = BAD) -> Steps:
    """Good below `value`, another colour from it on."""
    return ((None, GOOD), (value, colour))


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    """The steps as Grafana wants them."""
    made = [models.Threshold(value, colour) for value, colour in steps]
    mode = models.ThresholdsMode.PERCENTAGE if steps is OBJECTIVE else models.ThresholdsMode.ABSOLUTE
    return builders.ThresholdsConfig().mode(mode).steps(made)


def value_mapping(colours: dict[str, str], codes: dict[str, int] | None = None) -> models.ValueMapping:
    """Words (or the numbers that stand for them) shown as words in their colours."""
    results = {
        str(codes[word] if codes else word): models.ValueMappingResult(text=word, color=colour, index=index)
        for index, (word, colour) in enumerate(colours.items())
    }
    return models.ValueMap(options=results)


STATUS_NUMBERS = value_mapping(STATUS_COLOURS, STATUS_CODES)
STATUS_WORDS = value_mapping(STATUS_COLOURS)
SEVERITY_WORDS = value_mapping(SEVERITY_COLOURS)
LASTING = value_mapping({"lasts": BAD}, {"lasts": 1})
FIRING = value_mapping(SEVERITY_COLOURS, {"info": 1, "warning": 2, "critical": 3})


def fixed(colour: str) -> models.DynamicConfigValue:
    """A field's colour, whatever its value."""
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
