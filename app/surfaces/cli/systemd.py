"""What systemd is told of a `Type=notify` service; without systemd nothing is said. Source: sd_notify(3)."""

import os
import socket
import time
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
PATIENCE_S = 1
"""with a systemd that does not listen: there are workers to look after"""


def reloading() -> str:
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


class Notifier:
    """Takes the address out of the environment, so that no child of ours speaks in our place."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def say(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd, suppress(OSError):
            to_systemd.settimeout(PATIENCE_S)
            to_systemd.sendto(state.encode(), self._address)
