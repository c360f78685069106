"""`make bench`: every benchmark, side by side with what it is compared to, in one run. Name one to run it alone."""

import sys

from bench import exchange, proxied

BENCHES = {"exchange": exchange.run, "proxied": proxied.run}


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - BENCHES.keys())
    if unknown:
        print(f"there is no bench {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        print(f"== {name}: {(BENCHES[name].__doc__ or '').strip().splitlines()[0]}", flush=True)
        BENCHES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
