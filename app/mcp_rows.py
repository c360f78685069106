"""How an MCP server is written: under `[mcp_servers.NAME]` in `gateway.toml`, or in an `mcp.json` of the usual form.

Both come to the same row. A row holds `${VAR}` as it is written; what stands for it is put in when a connection is
opened (`app/agents/mcp_client/server.py`), so that no row, and nothing that prints one, holds a secret.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
LIMIT_BYTES = 1024 * 1024
SERVERS_KEY = "mcpServers"
OLD_TRANSPORT = (
    'is "sse", the transport of 2024, which is not spoken here; most servers have streamable HTTP as well: '
    'write "http", and the address they name for it (often /mcp in place of /sse)'
)
_BESIDES = frozenset({"$schema"})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = frozenset({"accept", "content-type", "content-length", "host", "mcp-session-id", "mcp-protocol-version"})


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise PydanticCustomError("header", "{name} is not a header", {"name": name})
        if name.lower() in _OURS:
            raise PydanticCustomError("header", "{name} is the protocol's own", {"name": name})
    return headers


def _url(url: str) -> str:
    parts = urlsplit(VARIABLE.sub("v", url))
    if not url.startswith("${") and not (parts.scheme in {"http", "https"} and parts.hostname):
        raise PydanticCustomError("url", "is not an address such as https://mcp.example.com/mcp")
    if parts.username or parts.password:
        raise PydanticCustomError("url", "holds a name or a password; put it into headers, by a variable")
    return url


type _Seconds = Annotated[float, Field(gt=0, le=3600)]
type ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class McpServerRow(BaseModel):
    """`command` is a program that is started, `url` an address that is called: either of them is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["stdio", "http", "streamable-http"] | None = None
    disabled: bool = False
    command: str | None = Field(default=None, min_length=1)
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = Field(default_factory=dict)
    cwd: Path | None = None
    url: Annotated[str, AfterValidator(_url)] | None = None
    headers: Annotated[Mapping[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    caller_id_header: str | None = Field(default=None, pattern=rf"^{_HEADER_NAME.pattern}$")
    caller_token: bool = False
    private_addresses: bool = False
    prefix: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{0,40}$")
    tools: tuple[str, ...] = ()
    denied_tools: tuple[str, ...] = ()
    trusted: bool = False
    timeout_s: _Seconds = 60
    timeouts_s: Mapping[str, _Seconds] = Field(default_factory=dict)
    connect_timeout_s: Annotated[float, Field(gt=0, le=300)] = 15

    @property
    def is_per_user(self) -> bool:
        return self.caller_token or self.caller_id_header is not None

    @property
    def texts(self) -> Iterable[str]:
        """Give every text in which a variable may stand."""
        yield from (self.command or "", self.url or "", str(self.cwd or ""))
        yield from (*self.args, *self.env.values(), *self.headers.values())

    @property
    def variables(self) -> set[str]:
        return {name for text in self.texts for name in VARIABLE.findall(text)}

    @field_validator("type", mode="before")
    @classmethod
    def _transports_we_speak(cls, given: object) -> object:
        if given == "sse":
            raise PydanticCustomError("sse", OLD_TRANSPORT)
        return given

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise PydanticCustomError("both", "needs either command, a program to start, or url, an address to call")
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            wrong = "url" if self.url else "command"
            raise PydanticCustomError("type", "is of type {type}, and has {wrong}", {"type": self.type, "wrong": wrong})
        others = {"headers", "caller_id_header", "caller_token", "private_addresses"}
        if self.url is not None:
            others = {"args", "env", "cwd"}
        if written := sorted(others & self.model_fields_set):
            kind = "a program" if self.command else "an address"
            raise PydanticCustomError("other", "{written} is not for {kind}", {"written": written[0], "kind": kind})
        lowered = {name.lower() for name in self.headers}
        added = {(self.caller_id_header or "").lower()} | ({"authorization"} if self.caller_token else set())
        if twice := sorted(lowered & added):
            raise PydanticCustomError("twice", "{name} would be sent twice", {"name": twice[0]})
        return self


@dataclass(frozen=True, slots=True)
class RowFlaw:
    """What is wrong with a row: which key, what it is, and how to mend it."""

    key: str
    message: str
    mend: str = ""


def variable_flaws(
    key: str, row: McpServerRow, *, known: Mapping[str, str], allowed: Collection[str] | None = None
) -> Iterable[RowFlaw]:
    """Tell which variables of a row may not be used there (None: each may), or stand for nothing."""
    if row.disabled:
        return
    for name in sorted(row.variables):
        if allowed is not None and name not in allowed:
            yield RowFlaw(key, f"${{{name}}} may not be used here", f"add {name} to MCP_VARIABLES if it may")
        elif not known.get(name):
            yield RowFlaw(key, f"{name} is not set", f"set {name} in the environment or .env")


def read_mcp_json(
    content: bytes, *, known: Mapping[str, str], allowed: Collection[str]
) -> tuple[Mapping[str, McpServerRow], list[RowFlaw]]:
    """Read an `mcp.json`; give the rows that are right, and everything wrong with the others."""
    if len(content) > LIMIT_BYTES:
        return {}, [RowFlaw("file", f"is larger than {LIMIT_BYTES} bytes")]
    try:
        document: Any = json.loads(content)  # Any: JSON nobody has checked yet
    except ValueError as error:  # also of bytes that are no UTF-8
        return {}, [RowFlaw("file", f"is not valid JSON: {error}")]
    servers = document.get(SERVERS_KEY) if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        return {}, [RowFlaw(SERVERS_KEY, "must be an object", 'write {"mcpServers": {"NAME": {...}}}')]
    flaws = [_unknown(key) for key in sorted(set(document) - {SERVERS_KEY} - _BESIDES)]
    rows: dict[str, McpServerRow] = {}
    for name, written in servers.items():
        key = f"{SERVERS_KEY}.{name}"
        try:
            TypeAdapter(ServerName).validate_python(name)
            rows[name] = McpServerRow.model_validate_json(json.dumps(written))
        except ValidationError as error:
            flaws += [_flaw(key, item["loc"], item["type"], item["msg"]) for item in error.errors()]
        else:
            flaws += variable_flaws(key, rows[name], known=known, allowed=allowed)
    return rows, flaws


def _flaw(key: str, place: tuple[int | str, ...], kind: str, message: str) -> RowFlaw:
    at = ".".join([key, *(str(part) for part in place)])
    return _unknown(at) if kind == "extra_forbidden" else RowFlaw(at, message)


def _unknown(key: str) -> RowFlaw:
    return RowFlaw(key, "is not a known key", "remove it or mend its name")
