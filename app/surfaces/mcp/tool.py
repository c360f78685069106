"""A tool of ours as MCP clients see it: a name, typed arguments, who may use it, and what it does.

Rule: `call` takes a struct and gives a struct or an object; what it may refuse with is a `Fault`, whose words the
client's model reads.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import msgspec

from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.identity import Access, Principal

type Members = Mapping[str, Any]  # Any: arguments as they came, and results as they go: JSON


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Wait(Protocol):
    """Await something for as long as the client and this process are there.

    Errors: ProcessGoing, ClientGone, and what the work raises.
    """

    def __call__[T](self, work: Awaitable[T]) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Asking:
    """Who calls a tool, and how to wait in his name."""

    who: Principal
    wait: Wait


@dataclass(frozen=True, slots=True)
class McpTool:
    """`takes` is the struct of its arguments. The hints are what clients show before they ask a person."""

    name: str
    description: str
    takes: type[msgspec.Struct]
    call: Callable[[Asking, Any], Awaitable[object]]  # Any: an instance of `takes`
    access: Access = Access.COMMON
    reads_only: bool = False
    destroys: bool = False
    is_open_world: bool = False

    def described(self) -> Members:
        hints = {
            "readOnlyHint": self.reads_only,
            "destructiveHint": self.destroys,
            "openWorldHint": self.is_open_world,
        }
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": schema_of(self.takes),
            "annotations": hints,
        }

    async def __call__(self, asking: Asking, arguments: Members) -> Members:
        """Errors: ValidationFailed, and the faults of what it does."""
        try:
            taken = msgspec.convert(arguments, self.takes)
        except msgspec.ValidationError as error:
            raise ValidationFailed("Some arguments are not valid.", errors=[_wrong(str(error))]) from error
        found = msgspec.to_builtins(await self.call(asking, taken))
        return found if isinstance(found, dict) else {"result": found}


def _wrong(message: str) -> FieldError:
    words, _, at = message.partition(" - at `$")
    return FieldError(at.rstrip("`").lstrip("."), words)


@cache
def schema_of(takes: type[msgspec.Struct]) -> dict[str, Any]:
    """Write the JSON schema of a struct so that it stands alone. Any: JSON."""
    (top,), components = msgspec.json.schema_components((takes,), ref_template="#/$defs/{name}")
    name = top["$ref"].rpartition("/")[2]
    whole = dict(components.pop(name))
    for key in ("title", "description"):
        whole.pop(key, None)
    return {**whole, **({"$defs": components} if components else {})}
