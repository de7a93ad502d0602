"""The samples of an exposition that matter here."""

from collections.abc import Iterator, Mapping
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from wawp_exporter.doctor.site import Site, Unusable

PATH = "/metrics"


class Samples:
    """What a service says of itself, by the name of the metric."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    @classmethod
    def of(cls, site: Site, *prefixes: str) -> Self:
        """Those of `site` whose names begin so; other lines, which may be many, are not parsed. Raises Unusable."""
        text = site.text(PATH)
        lines = "".join(f"{line}\n" for line in text.split("\n") if line.startswith(prefixes))
        try:
            return cls([each for family in text_string_to_metric_families(lines) for each in family.samples])
        except ValueError:
            raise Unusable(f"{site.url}{PATH} does not hold metrics", f"Is this the address of {site.name}?") from None

    def find(self, name: str, **labels: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """The samples of one metric that have these labels."""
        for sample in self._samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample.labels, sample.value

    def total(self, name: str, **labels: str) -> float | None:
        """Their sum, or None where there is none."""
        values = [value for _, value in self.find(name, **labels)]
        return sum(values) if values else None
