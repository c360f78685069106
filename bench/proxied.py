"""What the front door adds to a call of a service."""

import json
import re

from bench.system import Caller, measure, running_demo

TIMES = 500


def run() -> None:
    """A proxied call through the front door, beside the same call made to the service itself."""
    with running_demo() as demo:
        through = Caller.open(demo.url, demo.token("1"))
        proxied = measure(lambda: through.call("GET", "/api/v1/agenda/categories/"), times=TIMES)
        service = _agenda_url(demo.url, demo.token("1", "admin"))
        direct = Caller.open(service)
        direct.headers["x-user-id"] = "1"
        alone = measure(lambda: direct.call("GET", "/api/v1/categories/"), times=TIMES)
        print(f"through the front door {proxied}")
        print(f"the service itself     {alone}")
        print(f"ratio of medians {proxied.median / alone.median:.2f}, added {proxied.median - alone.median:.2f} ms")


def _agenda_url(url: str, token: str) -> str:
    """Read where the agenda listens out of the detailed health, which names its endpoint."""
    health = json.loads(Caller.open(url, token).call("GET", "/api/health/service_health"))
    details = next(one["details"] for one in health["deps"] if one["name"] == "agenda" and one["type"] == "http")
    found = re.match(r"(\S+:\d+)", details)
    if found is None:
        raise RuntimeError(f"the agenda's endpoint is not in {details!r}")
    return f"http://{found[1]}"
