"""`python -m bench edge --hold`: the gateway before its origin, left running to be loaded or profiled by hand."""

import signal

from bench.edge.scenarios import Pace
from bench.edge.site import SMALL
from bench.edge.stand import standing
from bench.edge.table import OURS


def hold(pace: Pace) -> int:
    """Print the gateway's process id and a command that loads it, then wait to be interrupted."""
    with standing(pace.body_bytes) as stand:
        (target,) = stand.targets([OURS])
        print(f"portico is process {target.pid}, its worker a child of that one; to load it:\n")
        print(f"wrk -t1 -c32 -d30s --latency -H 'Authorization: Bearer {target.token}' {target.url(SMALL)}\n")
        print("Ctrl-C ends it", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0
