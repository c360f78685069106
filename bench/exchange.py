"""What an exchange costs when the agent costs nothing."""

import json

from bench.gateway import running_gateway
from bench.issuer import Issuer
from bench.system import Caller, measure

TIMES = 300


def run() -> None:
    """An exchange with `echo`, from question to answer by way of a worker; beside it, two cheaper local calls."""
    issuer = Issuer.generate()
    with running_gateway(issuer) as gateway:
        caller = Caller.open(gateway.url, issuer.token())
        chat_id = json.loads(caller.call("POST", "/api/v1/chats/", {"agent": "echo"}))["id"]
        exchange = f"/api/v1/messages/{chat_id}/exchange"
        print(f"ping               {measure(lambda: caller.call('GET', '/api/health/ping'), times=TIMES)}")
        print(f"reading a chat     {measure(lambda: caller.call('GET', f'/api/v1/chats/{chat_id}'), times=TIMES)}")
        first = measure(lambda: caller.call("POST", exchange, {"content": "hello"}), times=20, warm_up=2)
        print(f"exchange, new chat {first}")
        later = measure(lambda: caller.call("POST", exchange, {"content": "hello"}), times=TIMES, warm_up=100)
        print(f"with a history     {later}  (200 earlier messages read each time)")
        print(f"added by the gateway, at the median: {later.median:.2f} ms (limit 10)")
