"""What an exchange costs when the agent costs nothing."""

import json

from bench.system import Caller, measure, running_demo

TIMES = 300
CHEAP = "/api/health/ping"


def run() -> None:
    """An exchange with `echo`: two transactions, the turn's lease and the edge; beside it, the cheapest local call."""
    with running_demo() as demo:
        caller = Caller.open(demo.url, demo.token("1"))
        chat_id = json.loads(caller.call("POST", "/api/v1/chats/", {"agent": "echo"}))["id"]
        path = f"/api/v1/messages/{chat_id}/exchange"
        ping = measure(lambda: caller.call("GET", CHEAP), times=TIMES)
        exchange = measure(lambda: caller.call("POST", path, {"content": "hello"}), times=TIMES)
        print(f"ping               {ping}")
        print(f"exchange with echo {exchange}")
        print(f"added by the gateway, at the median: {exchange.median:.2f} ms (limit 10)")
