"""Programs that try to get out of a sandbox, and what is made of what they reached.

Rule: a backend that says nothing of one of these does not isolate.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.kernel.values import Json

OF_CPYTHON = """
import ctypes, json, os, socket

def reaches(what):
    try:
        return bool(what())
    except Exception:
        return False

def connects(address):
    with socket.create_connection(address, 1):
        return True

def writes(path):
    with open(path, "w"):
        return True

def unshares():
    return ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0

print(json.dumps({
    "files of the host": reaches(lambda: open(SECRET).read()) or reaches(lambda: os.listdir(os.path.dirname(SECRET))),
    "the network": reaches(lambda: connects(("127.0.0.1", PORT))),
    "the environment": VARIABLE in os.environ or reaches(lambda: open("/proc/1/environ", "rb").read()),
    "other processes": reaches(lambda: [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 64]),
    "folders that are not its own": reaches(lambda: writes("/probe")) or reaches(lambda: writes("/usr/lib/probe")),
    "its keeper": reaches(lambda: os.listdir("/proc/1/fd")) or reaches(lambda: open("/proc/1/mem", "r+b")),
    "namespaces": reaches(unshares),
    "root": os.geteuid() == 0,
}))
"""

OF_MONTY = """
import json

def reads(path):
    try:
        with open(path) as file:
            file.read()
        return True
    except Exception:
        return False

def has_environment():
    try:
        import os
        return os.getenv(VARIABLE) is not None
    except Exception:
        return False

print(json.dumps({
    "files of the host": reads(SECRET),
    "the environment": has_environment(),
}))
"""


@dataclass(frozen=True, slots=True)
class Bait:
    """What a probe is to try for: a file, a listening port, and a variable of our environment."""

    secret: str
    port: int
    variable: str

    def written_into(self, probe: str) -> str:
        names = f"SECRET, PORT, VARIABLE = {self.secret!r}, {self.port}, {self.variable!r}\n"
        return names + probe


def flaw_in(output: str) -> str:
    """Tell in words what a probe reached; empty where it reached nothing."""
    found = _read(output)
    if not found or not all(isinstance(value, bool) for value in found.values()):
        return f"its probe did not say what it reached: {output.strip()[-200:] or 'nothing was printed'}"
    reached = [name for name, value in found.items() if value]
    return f"it does not isolate: a program reached {', '.join(reached)}" if reached else ""


def _read(output: str) -> Mapping[str, Json]:
    try:
        found = json.loads(output)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
