"""What is open at this moment, counted where it opens and where it closes; read by `/metrics`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Gauges:
    """Plain integers of one worker, for `edge.gauges.connections_open += 1`: one attribute, no call."""

    connections_open: int = 0
    """clients' connections, tunnels included"""
    connections_accepted: int = 0
    """clients' connections since the start"""
    streams_open: int = 0
    """answers that are under way and have no end in sight: server-sent events"""
    tunnels_open: int = 0
    """WebSockets after their 101, to an upstream or local"""

    @contextmanager
    def streaming(self, *, is_stream: bool) -> Iterator[None]:
        """Count a stream as open for as long as the block runs."""
        self.streams_open += is_stream
        try:
            yield
        finally:
            self.streams_open -= is_stream
