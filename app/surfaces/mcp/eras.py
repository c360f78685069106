"""Which versions of MCP are spoken here, and what a request must say in each of the two eras. Pure.

Facts
- Until 2025-11-25 a client opens with `initialize`, and names the version it got in `MCP-Protocol-Version` from then
  on; without the field it is 2025-03-26 (2025-11-25, Transports, "Protocol Version Header").
- From 2026-07-28 on there is no handshake: each request says its version and its client's capabilities in
  `params._meta`, and repeats version, method and name in fields, which must agree (2026-07-28, Transports).
- A value that no field can carry is sent as `=?base64?...?=` (the same, "Custom Headers").
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

from app.infra.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, PARSE_ERROR, Call, Refused

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STATELESS_VERSIONS = ("2026-07-28",)
LATEST_HANDSHAKE_VERSION = HANDSHAKE_VERSIONS[-1]

HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

VERSION_FIELD = "mcp-protocol-version"
METHOD_FIELD = "mcp-method"
NAME_FIELD = "mcp-name"
NAMED_BY: Mapping[str, str] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

VERSION_MEMBER = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_MEMBER = "io.modelcontextprotocol/clientCapabilities"
SERVER_MEMBER = "io.modelcontextprotocol/serverInfo"

_WRAPPED = re.compile(r"=\?base64\?(?P<payload>.*)\?=")


class Era(StrEnum):
    HANDSHAKE = "handshake"
    STATELESS = "stateless"


def era_of(version: str | None) -> Era:
    """Tell by the version a request names; one that nobody knows is told so as the newer era does."""
    return Era.HANDSHAKE if version is None or version in HANDSHAKE_VERSIONS else Era.STATELESS


def agreed_version(wanted: object) -> str:
    """Choose what a handshake comes to: what the client asks for, or else the newest there is."""
    return wanted if isinstance(wanted, str) and wanted in HANDSHAKE_VERSIONS else LATEST_HANDSHAKE_VERSION


def unsupported(version: str) -> Refused | None:
    """Refuse a version of the stateless era that is not spoken here."""
    if version in STATELESS_VERSIONS:
        return None
    more = {"supported": list(STATELESS_VERSIONS), "requested": version}
    return Refused(UNSUPPORTED_VERSION, "This version of MCP is not spoken here.", more=more)


def check_stateless(call: Call, fields: Sequence[tuple[str, str]]) -> None:
    """See that a request of the stateless era says what it must, and says it once. Errors: Refused."""
    try:
        _check(call, fields)
    except Refused as refused:
        refused.id = call.id
        raise


def _check(call: Call, fields: Sequence[tuple[str, str]]) -> None:
    said = _once(fields)
    meta = call.params.get("_meta")
    missing = [name for name in (VERSION_MEMBER, CAPABILITIES_MEMBER) if not isinstance(meta, dict) or name not in meta]
    if not isinstance(meta, dict) or missing:
        raise Refused(INVALID_PARAMS, f"params._meta must have {' and '.join(missing)}.")
    version = meta[VERSION_MEMBER]
    if said.get(VERSION_FIELD) != version:
        raise Refused(HEADER_MISMATCH, "MCP-Protocol-Version and the version in params._meta are not the same.")
    if said.get(METHOD_FIELD) != call.method:
        raise Refused(HEADER_MISMATCH, "Mcp-Method and the method of the body are not the same.")
    name = call.params.get(NAMED_BY.get(call.method, ""))
    if name is not None and unwrapped(said.get(NAME_FIELD)) != name:
        raise Refused(HEADER_MISMATCH, f"Mcp-Name and {NAMED_BY[call.method]} of the body are not the same.")
    refused = unsupported(version)
    if refused is not None:
        raise refused


def _once(fields: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Errors: Refused, where readers of the first and of the last field would read two things."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name in (VERSION_FIELD, METHOD_FIELD, NAME_FIELD):
            if name in found:
                raise Refused(HEADER_MISMATCH, f"The field {name} comes more than once.")
            found[name] = value.strip()
    return found


def unwrapped(value: str | None) -> str | None:
    """Give what a field says; None where its wrapping is broken, so that it equals nothing."""
    wrapped = _WRAPPED.fullmatch(value or "")
    if wrapped is None:
        return value
    try:
        raw = base64.b64decode(wrapped["payload"], validate=True)
        text = raw.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text if base64.b64encode(raw).decode() == wrapped["payload"] else None


def status_of(code: int) -> int:
    """Give the HTTP status of an error in the stateless era (2026-07-28, Transports); the older one says 400 or 200."""
    if code == METHOD_NOT_FOUND:
        return 404
    return 400 if code in (PARSE_ERROR, -32600, INVALID_PARAMS, HEADER_MISMATCH, -32021, UNSUPPORTED_VERSION) else 200
