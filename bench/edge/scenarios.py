"""What is measured of the edge; one entry per scenario, in the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.edge import one_connection, open_loop, transfer, wrk
from bench.edge.goals import Against, Goal
from bench.edge.peers.nginx import SIZES
from bench.edge.rounds import Measure, Sample
from bench.edge.site import SMALL, STATIC
from bench.edge.stand import PEERS, STATIC_ORIGIN, STREAMING_ORIGIN, TWO, Stand
from bench.edge.table import OURS
from bench.edge.target import Target

OPEN_LOOP_SHARE = 0.7
OPEN_LOOP_TITLE = f"an open loop at 70% of each target's own capacity, but at most {open_loop.LIMIT_PER_S:,} a second"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a run takes: per target and round `seconds` of load, `calls` timed one by one, one body.

    What is held to a goal is measured in more rounds: two that others disturbed do not decide it then.
    """

    rounds: int = 3
    goal_rounds: int = 5
    seconds: int = 2
    calls: int = 1000
    tokens: int = 10_000
    body_bytes: int = 1_000_000_000


QUICK = Pace(rounds=1, goal_rounds=3, seconds=1, calls=400, tokens=2000, body_bytes=250_000_000)

type Act = Callable[[Stand, Target, Pace], Sample]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`act` measures one target in one round."""

    name: str
    title: str
    act: Act
    measures: tuple[Measure, ...]
    goals: tuple[Goal, ...] = ()
    targets: tuple[str, ...] = (OURS, "nginx", "envoy")
    is_tls: bool = False
    is_headline: bool = False

    def rounds(self, pace: Pace) -> int:
        return pace.goal_rounds if self.goals else pace.rounds


def closed(path: str = SMALL, connections: int = 32, *headers: str) -> Act:
    def act(stand: Stand, target: Target, pace: Pace) -> Sample:
        del stand
        return wrk.measure(target, wrk.Load(path, pace.seconds, connections, headers))

    return act


def many_tokens(stand: Stand, target: Target, pace: Pace) -> Sample:
    return wrk.measure(target, wrk.Load(SMALL, pace.seconds, tokens=stand.tokens(pace.tokens)))


def open_at_seventy(stand: Stand, target: Target, pace: Pace) -> Sample:
    """Find what the target takes just now, then offer seventy per cent of it."""
    del stand
    capacity = wrk.run(target, wrk.Load(SMALL, 1)).per_s
    return open_loop.measure(target, per_s=capacity * OPEN_LOOP_SHARE, seconds=pace.seconds)


def timed(take: Callable[[Target, int], Sample]) -> Act:
    def act(stand: Stand, target: Target, pace: Pace) -> Sample:
        del stand
        return take(target, pace.calls)

    return act


def streams(stand: Stand, target: Target, pace: Pace) -> Sample:
    """Each stream lasts five milliseconds at least, so that half as many are taken."""
    del stand
    return one_connection.first_events(target, pace.calls // 2)


def moved(take: Callable[[Target, int], Sample]) -> Act:
    def act(stand: Stand, target: Target, pace: Pace) -> Sample:
        del stand
        return take(target, pace.body_bytes)

    return act


HEADLINE = Scenario(
    "json-32",
    "a JSON answer of 100 bytes, 32 connections, one token",
    closed(),
    wrk.MEASURES,
    (
        Goal(wrk.REQUESTS, "nginx", 0.42),
        Goal(wrk.REQUESTS, "envoy", 1.7),
        Goal(wrk.CPU, "envoy", 0.6),
    ),
    (OURS, *PEERS),
    is_headline=True,
)
ONE_CONNECTION = Scenario(
    "one-connection",
    "the same answer on one connection, one request after the other",
    timed(one_connection.answers),
    one_connection.MEASURES,
    (Goal(one_connection.P99, "nginx", 0.3, Against.ADDED),),
    (OURS, "nginx", "envoy", STATIC_ORIGIN),
)
FIRST_EVENT = Scenario(
    "first-event",
    "the time to the first event of a stream, on one connection",
    streams,
    one_connection.MEASURES,
    (
        Goal(one_connection.P50, STREAMING_ORIGIN, 0.3, Against.ADDED),
        Goal(one_connection.P99, "nginx", 0.3, Against.ADDED),
    ),
    (OURS, "nginx", "envoy", STREAMING_ORIGIN),
)
FAST = (Goal(transfer.SPEED, "nginx", 0.5),)
ALL = (
    HEADLINE,
    Scenario("json-1000", "the same with 1,000 connections", closed(SMALL, 1000), wrk.MEASURES),
    Scenario("tokens-10000", "32 connections, 10,000 tokens in turn", many_tokens, wrk.MEASURES),
    *(
        Scenario(f"body-{size}", f"answers of {size.upper()}, 32 connections", closed(f"{STATIC}/{size}"), wrk.MEASURES)
        for size in SIZES
    ),
    Scenario(
        "new-connections", "a new connection for each request", closed(SMALL, 32, "Connection: close"), wrk.MEASURES
    ),
    Scenario("tls", "TLS on the listener, 32 connections kept", closed(), wrk.MEASURES, is_tls=True),
    Scenario("open-loop", OPEN_LOOP_TITLE, open_at_seventy, open_loop.MEASURES),
    ONE_CONNECTION,
    FIRST_EVENT,
    Scenario("download-1gb", "a 1 GB answer", moved(transfer.download), transfer.MEASURES, FAST),
    Scenario("upload-1gb", "a 1 GB request body", moved(transfer.upload), transfer.MEASURES, FAST),
    replace(
        HEADLINE,
        name="workers",
        title="two workers beside one, 32 connections",
        targets=(OURS, TWO),
        goals=(Goal(wrk.CPU, OURS, 1.15, target=TWO),),
        is_headline=False,
    ),
)
