"""How the benchmark of the edge turns samples into medians, ratios, verdicts and a table."""

import math

import pytest

from bench.edge.goals import Against, Goal
from bench.edge.rounds import Better, Measure, Rounds, Sample, percentile
from bench.edge.run import ratios
from bench.edge.table import losses, render
from bench.edge.wrk import CPU, REQUESTS

SPEED = Measure("speed", "/s", Better.MORE)
WAIT = Measure("wait", "ms", digits=1)
OFFERED = Measure("offered", "/s", Better.NEITHER)


def _rounds(*taken: tuple[float, float], measure: Measure = SPEED, peer: str = "nginx") -> Rounds:
    return Rounds(
        tuple({"portico": Sample({measure: ours}), peer: Sample({measure: theirs})} for ours, theirs in taken)
    )


def test_a_ratio_is_taken_within_its_round() -> None:
    drifting = _rounds((50, 100), (20, 40), (5, 10))

    assert drifting.ratio(SPEED, "portico", "nginx") == 0.5


def test_one_disturbed_round_does_not_decide() -> None:
    disturbed = _rounds((50, 100), (1, 100), (50, 100))

    assert disturbed.ratio(SPEED, "portico", "nginx") == 0.5
    assert disturbed.median("portico", SPEED) == 50


def test_what_is_added_is_the_median_of_the_rounds_differences() -> None:
    rounds = _rounds((1.5, 1.0), (9.0, 8.0), (2.2, 2.0), measure=WAIT)

    assert rounds.added(WAIT, "portico", "nginx") == pytest.approx(0.5)


def test_a_peer_that_used_nothing_gives_no_finite_ratio() -> None:
    assert _rounds((1, 0)).ratio(SPEED, "portico", "nginx") == math.inf


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0.5, 1)], ids=["median", "p99", "all", "least"]
)
def test_a_percentile_is_a_value_that_was_seen(percent: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(percentile([], 99))


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        (Goal(SPEED, "nginx", 0.5), "goal kept   speed 0.50 of nginx's, at least 0.5"),
        (Goal(SPEED, "nginx", 0.6), "goal MISSED speed 0.50 of nginx's, at least 0.6"),
        (Goal(SPEED, "envoy", 0.6), None),
    ],
    ids=["kept", "missed", "peer not installed"],
)
def test_a_goal_is_judged_where_its_peer_was_measured(goal: Goal, told: str | None) -> None:
    assert goal.judge(_rounds((50, 100))) == told


def test_a_goal_of_what_is_added_names_the_unit() -> None:
    goal = Goal(WAIT, "nginx", 0.3, Against.ADDED)

    assert goal.judge(_rounds((1.0, 0.5), measure=WAIT)) == "goal MISSED wait 0.50 ms over nginx's, at most 0.3 ms"


@pytest.mark.parametrize(
    ("measure", "ours", "expected"),
    [
        (SPEED, 50, "speed x0.50"),
        (SPEED, 99, "nowhere"),
        (SPEED, 200, "nowhere"),
        (WAIT, 200, "wait x2.00"),
        (WAIT, math.nan, "wait xnan"),
        (OFFERED, 50, "nowhere"),
    ],
    ids=["slower", "as fast but for noise", "faster", "waits longer", "unknown", "not a contest"],
)
def test_the_last_column_names_what_portico_loses(measure: Measure, ours: float, expected: str) -> None:
    assert losses(_rounds((ours, 100), measure=measure), [measure], "nginx") == expected


def test_the_table_has_a_line_per_target() -> None:
    rounds = Rounds(({"portico": Sample({SPEED: 12_345}), "nginx": Sample({SPEED: 24_690}, failed=3)},))

    assert render(rounds, [SPEED]) == [
        "           speed [/s]  failed  where we lose",
        "  portico      12,345       0",
        "  nginx        24,690       3  speed x0.50",
    ]


def test_the_last_line_leaves_out_a_peer_that_is_not_there() -> None:
    sample = Sample({REQUESTS: 100, CPU: 10})

    assert ratios(Rounds(({"portico": sample, "nginx": sample},))) == "ratio_rps_nginx=1.00 ratio_cpu_nginx=1.00"
