"""JSON-RPC 2.0, as MCP sends it: one message a body, read into a call or a notification; answers written.

Facts
- MCP takes no batches (2025-06-18 and later), and no id that is null (MCP, Base Protocol, "Requests").
- A notification is a request without the member `id` (JSON-RPC 2.0 §4.1); it is never answered.
- Codes -32768 to -32000 are reserved (§5.1); MCP has its own from -32020 on (2026-07-28, "Error codes").
"""

from collections.abc import Mapping
from typing import Any

import msgspec

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

type Id = str | int
# Any: the members of a JSON object, whose shape each method knows
type Members = Mapping[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A request, to be answered under its id."""

    id: Id
    method: str
    params: Members


class Notification(msgspec.Struct, frozen=True):
    method: str
    params: Members


class Refused(Exception):
    """A request that is answered with an error object; `id` is None where it could not be read."""

    def __init__(self, code: int, message: str, *, id_: Id | None = None, more: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id_
        self.more = more


def read(body: bytes) -> Call | Notification:
    """Read one message. Errors: Refused."""
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise Refused(PARSE_ERROR, "The body is not JSON in UTF-8.") from None
    if not isinstance(found, dict):
        raise Refused(INVALID_REQUEST, "Send one JSON-RPC request or notification a body; batches are not taken.")
    method, params = found.get("method"), found.get("params", {})
    if found.get("jsonrpc") != "2.0" or not isinstance(method, str) or not method:
        raise Refused(INVALID_REQUEST, 'A request has "jsonrpc": "2.0" and a method.', id_=_id_of(found))
    if "id" in found and _id_of(found) is None:
        raise Refused(INVALID_REQUEST, "The id of a request is a text or a whole number.")
    if not isinstance(params, dict):
        raise Refused(INVALID_PARAMS, "The params of a request are an object.", id_=_id_of(found))
    if "id" not in found:
        return Notification(method, params)
    return Call(found["id"], method, params)


def _id_of(found: Mapping[str, object]) -> Id | None:
    id_ = found.get("id")
    return id_ if isinstance(id_, str | int) and not isinstance(id_, bool) else None


def write_result(id_: Id, result: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id_, "result": result})


def write_error(refused: Refused) -> bytes:
    error: dict[str, object] = {"code": refused.code, "message": refused.message}
    if refused.more is not None:
        error["data"] = refused.more
    return msgspec.json.encode({"jsonrpc": "2.0", "id": refused.id, "error": error})
