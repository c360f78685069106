"""Families: written down as Prometheus reads them, and made one of several workers'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.observability.metrics import (
    Family,
    Merge,
    MetricSources,
    Sample,
    by_labels,
    counter,
    exposition,
    gauge,
    labels_of,
    merged,
)
from tests.exposition import read_exposition


def a_histogram(*counts: int, total: float = 1.5, bounds: tuple[float, ...] = (0.1, 1.0)) -> Family:
    return Family("h_seconds", "histogram", "How long.", (Sample(labels_of(route="/x"), total, counts),), bounds=bounds)


def test_every_kind_is_written_as_the_format_says() -> None:
    families = [counter("c_total", "Counted.", 3), gauge("g", "Of now.", 0.25), a_histogram(1, 2, 3)]

    assert exposition(families).decode().splitlines() == [
        "# HELP c_total Counted.",
        "# TYPE c_total counter",
        "c_total 3",
        "# HELP g Of now.",
        "# TYPE g gauge",
        "g 0.25",
        "# HELP h_seconds How long.",
        "# TYPE h_seconds histogram",
        'h_seconds_bucket{route="/x",le="0.1"} 1',
        'h_seconds_bucket{route="/x",le="1"} 3',
        'h_seconds_bucket{route="/x",le="+Inf"} 6',
        'h_seconds_sum{route="/x"} 1.5',
        'h_seconds_count{route="/x"} 6',
    ]


@given(value=st.text(st.characters(exclude_categories=["Cs"])), number=st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_a_label_holds_is_read_back_as_it_was(value: str, number: float) -> None:
    text = exposition([by_labels("g", "gauge", "Text\nof \\ two lines.", {labels_of(a=value): number})]).decode()

    assert read_exposition(text)["g"].value("g", a=value) == number


def test_workers_counters_and_histograms_add_up() -> None:
    (one, other) = merged(
        [counter("c_total", "", 3), a_histogram(1, 2, 3), counter("c_total", "", 4), a_histogram(1, 0, 0)]
    )

    assert one.samples == (Sample((), 7),)
    assert other.samples == (Sample(labels_of(route="/x"), 3.0, (2, 2, 3)),)


@pytest.mark.parametrize(("merge", "value"), [("sum", 5), ("max", 3), ("min", 2)])
def test_a_gauge_becomes_what_it_says(merge: Merge, value: float) -> None:
    (family,) = merged([gauge("g", "", 2, merge=merge), gauge("g", "", 3, merge=merge)])

    assert family.samples == (Sample((), value),)


def test_what_one_worker_alone_has_seen_stays() -> None:
    (family,) = merged([by_labels("c_total", "counter", "", {labels_of(a=name): 1}) for name in "xy"])

    assert [sample.labels for sample in family.samples] == [labels_of(a="x"), labels_of(a="y")]


def test_a_worker_of_another_version_breaks_no_sum() -> None:
    (family,) = merged([a_histogram(1, 2, 3), a_histogram(1, 2, bounds=(0.1,))])

    assert family == a_histogram(1, 2, 3)


def test_sources_are_asked_when_somebody_reads() -> None:
    sources, counts = MetricSources(), [0]

    def source() -> list[Family]:
        counts[0] += 1
        return [counter("c_total", "", counts[0])]

    sources.add(source)
    sources.add(lambda: [gauge("g", "", 1)])

    assert counts == [0]
    assert [family.samples[0].value for family in sources.read()] == [1, 1]
    assert [family.samples[0].value for family in sources.read()] == [2, 1]
