"""A client that follows a run through everything: cut off, it reads on from its last event, wherever it is answered."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from app.agents.turns import Fold

LAST = {"run_completed", "run_failed", "run_interrupted"}
PATIENCE_S = 60

# Any: an event, as JSON has it
type Event = dict[str, Any]


@dataclass
class Reader:
    """In a thread of its own. `events` are what it saw, in the order it saw them, each once by its own bookkeeping."""

    urls: Sequence[str]
    run_id: str
    headers: Mapping[str, str]
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    _thread: threading.Thread = field(init=False)

    def start(self) -> "Reader":
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in LAST

    @property
    def text(self) -> str:
        fold = Fold()
        for event in self.events:
            fold.add(event["type"], event["data"])
        return fold.text

    def awaits(self, condition: Callable[["Reader"], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition(self):
            assert time.monotonic() < end, f"waited in vain: {[event['type'] for event in self.events]}"
            time.sleep(0.005)

    def finish(self) -> list[Event]:
        self._thread.join(PATIENCE_S)
        assert self.is_over, [event["type"] for event in self.events]
        return self.events

    def _follow(self) -> None:
        for attempt in count():
            url = self.urls[attempt % len(self.urls)]
            try:
                self._read(url)
            except httpx.TransportError:
                time.sleep(0.05)
            if self.is_over:
                return

    def _read(self, url: str) -> None:
        last = str(self.events[-1]["seq"]) if self.events else "0"
        headers = {**self.headers, "accept": "text/event-stream", "last-event-id": last}
        with httpx.stream("GET", f"{url}/api/v1/runs/{self.run_id}/events", headers=headers, timeout=20) as answer:
            if answer.status_code != 200:
                time.sleep(0.05)
                return
            self.connections += 1
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))
