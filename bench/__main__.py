"""`make bench`: every benchmark, side by side with what it is compared to, in one run. Name one to run it alone."""

import argparse
import signal
import sys
from types import FrameType

from bench import chats, exchange, first_token, proxied, runs
from bench.edge import run as edge
from bench.edge.hold import hold
from bench.edge.scenarios import QUICK, Pace
from bench.programs import DidNotStart, ProgramMissing

BENCHES = {
    "exchange": "what an exchange costs when the agent costs nothing",
    "first-token": "the first token of an exchange that streams, beside the model called directly",
    "chats": "a chat of 10,000 messages: opened, paged through, searched",
    "runs": "the engine of runs: how soon one starts and stops, how many a second",
    "proxied": "a proxied call through the demo's front door, beside the same call made to the service itself",
    "edge": "the front door beside nginx, Envoy and what else is installed",
}


def main() -> int:
    signal.signal(signal.SIGTERM, _leave)
    asked = _parser().parse_args()
    unknown = sorted(set(asked.names) - BENCHES.keys())
    if unknown:
        print(f"there is no bench {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    names = asked.names or (["edge"] if asked.only or asked.hold else list(BENCHES))
    try:
        return max(_run(name, asked) for name in names)
    except (ProgramMissing, DidNotStart) as hindered:
        print(hindered, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}")
    parser.add_argument(
        "--only", action="append", choices=edge.NAMES, default=[], help="a scenario of edge; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="edge in about a minute: fewer and shorter rounds")
    parser.add_argument("--hold", action="store_true", help="edge only: start the gateway and leave it running")
    return parser


def _run(name: str, asked: argparse.Namespace) -> int:
    print(f"== {name}: {BENCHES[name]}", flush=True)
    if name == "edge" and asked.hold:
        return hold(QUICK)
    if name == "edge":
        return edge.run(QUICK if asked.quick else Pace(), only=asked.only)
    if name == "chats":
        return chats.run()
    {"exchange": exchange.run, "first-token": first_token.run, "runs": runs.run, "proxied": proxied.run}[name]()
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C: what was started is ended on the way out."""
    del frame
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
