"""An MCP server of the protocol's older era (2025-06-18), by hand: it knows `initialize`, and starts in no time.

A second tool is there once the first was called, and it says so.
"""

import json
import sys
from typing import Any

tools = [{"name": "greet", "inputSchema": {"type": "object"}}]


def say(**message: Any) -> None:  # Any: JSON
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)  # noqa: T201 - this is how it speaks


def answer(message: dict[str, Any]) -> None:
    method, id_ = message.get("method"), message.get("id")
    match method:
        case "initialize":
            info = {"name": "old", "version": "1"}
            capabilities = {"tools": {"listChanged": True}}
            say(id=id_, result={"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info})
        case "tools/list":
            say(id=id_, result={"tools": tools})
        case "tools/call":
            tools.append({"name": "part", "inputSchema": {"type": "object"}})
            say(id=id_, result={"content": [{"type": "text", "text": "hello"}]})
            say(method="notifications/tools/list_changed")
        case _ if id_ is not None:
            say(id=id_, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    print("an old server begins")  # noqa: T201 - no message, and no harm
    for line in sys.stdin:
        answer(json.loads(line))
