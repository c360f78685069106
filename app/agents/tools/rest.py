"""`RestTool`: one request to one service as a tool, with what the model may say of it and nothing else.

    add = RestTool(name="add", description="Add two numbers.", method="POST", path="/add", json=AddInput,
                   base_url="https://calculator.example", overrides={"precision": 2})

The places of the path and the fields of `query`, `json` or `form` are the arguments. Host, port, scheme and headers
are the author's: no argument reaches them. Without a `base_url`, or with that of the front door, the request goes
through the front door as the person who asked; nowhere else does it carry who that is, unless `identity` says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
from pydantic import TypeAdapter
from pydantic_core import to_json

from app.agents.contract import TOOL_TIMEOUT_S, Overrides, Risk, Tool, ToolContext, Traits
from app.agents.front_door import Identity, Outgoing
from app.agents.tools.requests import IDEMPOTENT_METHODS, as_told, fields, filled, places_in, risk_of
from app.infra.http_client.egress import networks_of
from app.kernel.values import Json

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
ANSWER_LIMIT_BYTES = 1024 * 1024


class RestTool(Tool):
    """Errors: ValueError at construction, for what could never be called.

    `query`, `json` and `form` are types pydantic knows, or msgspec structs, with fields. `risk` is that of the method
    unless it is given. `networks` are private ones it may call (`10.1.0.0/16`); by default none.
    """

    def __init__(
        self,
        *,
        name: str,
        path: str,
        description: str,
        method: str = "GET",
        base_url: str = "",
        query: type | None = None,
        json: type | None = None,
        form: type | None = None,
        headers: Mapping[str, str] | None = None,
        overrides: Overrides | None = None,
        identity: Identity = "none",
        networks: Sequence[str] = (),
        risk: Risk | None = None,
        timeout_s: float = TOOL_TIMEOUT_S,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> None:
        _check_address(name, method, path, base_url)
        if json is not None and form is not None:
            raise ValueError(f"{name}: a request has one body, json or form")
        models = {"query": query, "json": json, "form": form}
        shape = _Shape(name, path, {part: Model(type_) for part, type_ in models.items() if type_ is not None})
        unknown = sorted((overrides or {}).keys() - shape.parts.keys())
        if unknown:
            raise ValueError(f"{name}: there is no argument {', '.join(unknown)} to override")
        template = Outgoing(
            method=method,
            url=base_url.rstrip("/"),
            headers=dict(headers or {}),
            identity=identity,
            networks=networks_of(networks),
            timeout_s=timeout_s,
            limit_bytes=limit_bytes,
        )
        super().__init__(
            name=name,
            description=description,
            parameters=shape.schema,
            call=partial(_call, path, template),
            traits=Traits(
                risk=risk or risk_of(method),
                is_idempotent=method in IDEMPOTENT_METHODS,
                timeout_s=timeout_s,
                overrides=overrides or {},
            ),
            origin="rest",
            check=shape.check,
        )


class Model:
    """A type with fields: its schema, and how values become it and JSON again."""

    def __init__(self, type_: type) -> None:
        self._is_struct = issubclass(type_, msgspec.Struct)
        self._type = type_
        self._adapter: TypeAdapter[Any] | None = None if self._is_struct else TypeAdapter(type_)  # Any: the author's
        self.schema = self._schema()

    def _schema(self) -> dict[str, Any]:  # Any: a JSON schema
        if self._adapter is not None:
            return self._adapter.json_schema()
        (schema,), components = msgspec.json.schema_components([self._type], ref_template="#/$defs/{name}")
        whole = components[self._type.__name__] if "$ref" in schema else schema
        own = self._type.__name__
        used = {name: one for name, one in components.items() if name != own or _refers(components, own)}
        return {**whole, "$defs": used} if used else dict(whole)

    def written(self, said: Mapping[str, Json]) -> dict[str, Any]:  # Any: JSON
        """Give what is sent. Errors: ValueError."""
        if self._adapter is not None:
            read = self._adapter.validate_python(said)
            written: dict[str, Any] = self._adapter.dump_python(read, mode="json", by_alias=True)
            return written
        try:
            built: dict[str, Any] = msgspec.to_builtins(msgspec.convert(said, self._type))
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
        return built


def _refers(components: Mapping[str, Any], name: str) -> bool:
    """Tell whether a type is a part of itself; a definition nobody refers to would show what an override hides."""
    return f'"#/$defs/{name}"' in to_json(components).decode()


class _Shape:
    """Which argument belongs to which part of the request."""

    def __init__(self, name: str, path: str, models: Mapping[str, Model]) -> None:
        self.models = models
        self.places = places_in(path)
        self.parts: dict[str, str] = dict.fromkeys(sorted(self.places), "path")
        properties: dict[str, Any] = {place: {"type": ["string", "integer"]} for place in self.parts}
        required = list(self.parts)
        definitions: dict[str, Any] = {}
        for part, model in models.items():
            for field, schema in model.schema.get("properties", {}).items():
                if field in self.parts:
                    raise ValueError(f"{name}: {field} is both in {self.parts[field]} and in {part}")
                self.parts[field] = part
                properties[field] = schema
            required += model.schema.get("required", [])
            definitions |= model.schema.get("$defs", {})
        self.schema = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
            **({"$defs": definitions} if definitions else {}),
        }

    def check(self, said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: JSON, by part
        """Sort the arguments into parts, as they are sent. Errors: ValueError."""
        unknown = sorted(said.keys() - self.parts.keys())
        missing = sorted(self.places - said.keys())
        if unknown or missing:
            flaws = [*(f"{name} is no argument" for name in unknown), *(f"{name} is missing" for name in missing)]
            raise ValueError("; ".join(flaws))
        parts = {part: model.written(self._of(part, said)) for part, model in self.models.items()}
        return {"path": self._of("path", said), **parts}

    def _of(self, part: str, said: Mapping[str, Json]) -> dict[str, Json]:
        return {name: value for name, value in said.items() if self.parts[name] == part}


async def _call(path: str, template: Outgoing, ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
    where = filled(path, arguments["path"])
    query = fields(arguments.get("query", {}))
    body = arguments.get("json")
    form = None if "form" not in arguments else fields(arguments["form"])
    if not template.url:
        return as_told(await ctx.call(template.method, where, json=body, form=form, query=query))
    outgoing = replace(template, url=template.url + where, json=body, form=form, query=query)
    return as_told(await ctx.call_outside(outgoing))


def _check_address(name: str, method: str, path: str, base_url: str) -> None:
    parts = urlsplit(base_url)
    if base_url and (parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc):
        raise ValueError(f"{name}: {base_url!r} is not the address of a service, as https://host")
    if parts.query or parts.fragment or "{" in base_url:
        raise ValueError(f"{name}: a base URL is fixed, and has neither query nor fragment")
    if not path.startswith("/") or path.startswith("//") or "?" in path or "#" in path:
        raise ValueError(f"{name}: a path starts with one slash and has neither query nor fragment")
    if method not in METHODS:
        raise ValueError(f"{name}: the method is one of {', '.join(sorted(METHODS))}")
