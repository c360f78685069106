"""One MCP server as its connections need it: the row, and what stands for its variables.

Rule: what variables stand for is secret. It leaves this module towards the server alone; `Secrets.hide` takes it out of
whatever a server says before that is logged or told.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from app.kernel.values import Json
from app.mcp_rows import VARIABLE, McpServerRow

PASSED_ON = ("PATH", "HOME")
"""what a program that is started sees of our environment, besides what its entry gives it"""
SHORTEST_SECRET_CHARS = 6
"""what is shorter is found in too many words that mean something else"""
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


@dataclass(frozen=True, slots=True)
class Secrets:
    values: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, values: Iterable[str]) -> "Secrets":
        long = {value for value in values if len(value) >= SHORTEST_SECRET_CHARS}
        return cls(tuple(sorted(long, key=len, reverse=True)))  # what holds another one goes first

    def hide(self, text: str) -> str:
        for value in self.values:
            text = text.replace(value, "[redacted]")
        return _BEARER.sub(r"\1 [redacted]", text)

    def hide_in(self, value: Json) -> Json:
        """Hide them, and them alone, in every text of a value: what a server answers is kept, told and shown."""
        match value:
            case str():
                for secret in self.values:
                    value = value.replace(secret, "[redacted]")
                return value
            case Mapping():
                return {str(self.hide_in(key)): self.hide_in(item) for key, item in value.items()}
            case list() | tuple():
                return [self.hide_in(item) for item in value]
        return value

    def and_(self, more: Iterable[str]) -> "Secrets":
        return Secrets.of([*self.values, *more])


@dataclass(frozen=True, slots=True)
class Server:
    """Shapes: `environment` is ours, of which the entry's variables are read, and `PASSED_ON` is passed on."""

    name: str
    row: McpServerRow
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        return "stdio" if self.row.command else "http"

    @property
    def prefix(self) -> str:
        return f"{self.name}_" if self.row.prefix is None else self.row.prefix

    @property
    def command(self) -> tuple[str, ...]:
        return (self._read(self.row.command or ""), *(self._read(one) for one in self.row.args))

    @property
    def cwd(self) -> str | None:
        return None if self.row.cwd is None else self._read(str(self.row.cwd))

    @property
    def child_environment(self) -> Mapping[str, str]:
        ours = {name: self.environment[name] for name in PASSED_ON if name in self.environment}
        return ours | {name: self._read(value) for name, value in self.row.env.items()}

    @property
    def url(self) -> str:
        return self._read(self.row.url or "")

    @property
    def headers(self) -> Mapping[str, str]:
        return {name: self._read(value) for name, value in self.row.headers.items()}

    @property
    def secrets(self) -> Secrets:
        given = (*self.row.env.values(), *self.row.headers.values())
        of_variables = (self.environment.get(name, "") for name in self.row.variables)
        return Secrets.of([*of_variables, *(self._read(value) for value in given)])

    def offers(self, tool: str) -> bool:
        """Tell whether the entry lets a tool of this name (the server's own) be seen: denying wins."""
        if any(fnmatchcase(tool, pattern) for pattern in self.row.denied_tools):
            return False
        return not self.row.tools or any(fnmatchcase(tool, pattern) for pattern in self.row.tools)

    def timeout_s(self, tool: str) -> float:
        return self.row.timeouts_s.get(tool, self.row.timeout_s)

    def _read(self, text: str) -> str:
        return VARIABLE.sub(lambda match: self.environment.get(match[1], ""), text)
