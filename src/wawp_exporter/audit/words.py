"""Ratios and durations in words, for terminals and pages."""


def percent(ratio: float | None) -> str:
    """A ratio in percent, rounded down, so that only a perfect one is 100 %; – for none."""
    return "–" if ratio is None else f"{int(ratio * 100_000 + 1e-6) / 1000:.3f} %"


def duration(seconds: float | None) -> str:
    """A duration in its two largest units, such as `2d 3h`; – for none."""
    if seconds is None:
        return "–"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
