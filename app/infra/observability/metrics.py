"""What is measured, as values: families of samples that can be sent between processes, added up and written down.

Rule: a label's values come from a table or a list of ours, never from what a client wrote: each pair of them costs
memory here and a series at whoever collects.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

type Labels = tuple[tuple[str, str], ...]
type Kind = Literal["counter", "gauge", "histogram"]
type Merge = Literal["sum", "max", "min"]


class Sample(msgspec.Struct, frozen=True):
    """`value` of a histogram is the sum of what was observed; `counts` are then those of each bucket, the last open."""

    labels: Labels
    value: float
    counts: tuple[int, ...] = ()


class Family(msgspec.Struct, frozen=True):
    """A metric and its samples. `merge` says what those of several workers become; `bounds` are a histogram's."""

    name: str
    kind: Kind
    text: str
    samples: Sequence[Sample]
    merge: Merge = "sum"
    bounds: tuple[float, ...] = ()


_MERGES: Mapping[Merge, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}

type Source = Callable[[], Iterable[Family]]


@dataclass(slots=True)
class MetricSources:
    """Everybody who measures something in this process; asked when somebody reads, and never before."""

    _sources: list[Source] = field(default_factory=list)

    def add(self, source: Source) -> None:
        self._sources.append(source)

    def read(self) -> list[Family]:
        return merged([family for source in self._sources for family in source()])


def gauge(name: str, text: str, value: float, *, merge: Merge = "sum") -> Family:
    return Family(name, "gauge", text, (Sample((), value),), merge)


def counter(name: str, text: str, value: float) -> Family:
    return Family(name, "counter", text, (Sample((), value),))


def by_labels(name: str, kind: Kind, text: str, values: Mapping[Labels, float], *, merge: Merge = "sum") -> Family:
    return Family(name, kind, text, tuple(Sample(labels, value) for labels, value in values.items()), merge)


def labels_of(**values: str) -> Labels:
    return tuple(values.items())


def merged(families: Iterable[Family]) -> list[Family]:
    """Make one family of those with the same name, and one sample of those with the same labels."""
    named: dict[str, list[Family]] = {}
    for family in families:
        named.setdefault(family.name, []).append(family)
    return [same[0] if len(same) == 1 else _one(same) for same in named.values()]


def _one(families: Sequence[Family]) -> Family:
    first = families[0]
    samples: dict[Labels, Sample] = {}
    for family in families:
        if (family.kind, family.bounds) != (first.kind, first.bounds):
            continue  # a worker of another version, in the middle of an update
        for sample in family.samples:
            known = samples.get(sample.labels)
            samples[sample.labels] = sample if known is None else _joined(first.merge, known, sample)
    return msgspec.structs.replace(first, samples=tuple(samples.values()))


def _joined(merge: Merge, one: Sample, other: Sample) -> Sample:
    value = _MERGES[merge]((one.value, other.value))
    return Sample(one.labels, value, tuple(map(sum, zip(one.counts, other.counts, strict=True))))


def exposition(families: Iterable[Family]) -> bytes:
    """Write families down (https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4)."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.text)}", f"# TYPE {family.name} {family.kind}"]
        write = _histogram if family.kind == "histogram" else _plain
        for sample in family.samples:
            lines += write(family, sample)
    return ("\n".join(lines) + "\n").encode()


def _plain(family: Family, sample: Sample) -> Iterable[str]:
    yield f"{family.name}{_written(sample.labels)} {_number(sample.value)}"


def _histogram(family: Family, sample: Sample) -> Iterable[str]:
    total = 0
    for bound, count in zip((*map(_number, family.bounds), "+Inf"), sample.counts, strict=True):
        total += count
        yield f"{family.name}_bucket{_written((*sample.labels, ('le', bound)))} {total}"
    yield f"{family.name}_sum{_written(sample.labels)} {_number(sample.value)}"
    yield f"{family.name}_count{_written(sample.labels)} {total}"


def _written(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value, quote=True)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str, *, quote: bool = False) -> str:
    plain = text.replace("\\", r"\\").replace("\n", r"\n")
    return plain.replace('"', r"\"") if quote else plain


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
