"""Waiting for what the gateway logs: its lines are written after the answer has left."""

import time
from collections.abc import MutableMapping, Sequence
from typing import Any

PATIENCE_S = 15

# Any: structlog's events hold whatever was logged
type Event = MutableMapping[str, Any]


def wait_for(events: Sequence[Event], event: str, **fields: object) -> Event:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for found in tuple(events):
            if found["event"] == event and fields.items() <= found.items():
                return found
        time.sleep(0.01)
    raise AssertionError(f"nothing was logged as {event} with {fields}")
