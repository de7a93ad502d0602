"""Ratios and durations in words, for terminals and pages."""


def percent(ratio: float | None) -> str:
    """Rounded down, so that only what is perfect says 100 %."""
    return "–" if ratio is None else f"{int(ratio * 100_000 + 1e-6) / 1000:.3f} %"


def lasting(seconds: float | None) -> str:
    """A duration as people say it: the two largest units."""
    if seconds is None:
        return "–"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
