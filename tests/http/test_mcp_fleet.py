"""Operations of services as MCP tools: those the caller may use, called through the front door as the caller."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mcp.shared.exceptions import MCPError

from app.infra.openapi import fleet as fleet_module
from tests.builders import some_settings
from tests.e2e.program import becomes_true
from tests.gateway import running_gateway
from tests.http.calls import as_, somebody
from tests.http.mcp_client import mcp_client, refused, use
from tests.http.test_joined_description import Publishing, publishing, stop

DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Calendars", "version": "7"},
    "paths": {
        "/api/v1/events/{event_id}": {
            "get": {
                "operationId": "read_event",
                "summary": "Read an event",
                "parameters": [{"name": "event_id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            }
        },
        "/api/v1/orders": {"post": {"operationId": "make_order"}},
        **{f"/api/v1/many/{n}": {"get": {"operationId": f"many_{n}"}} for n in range(120)},
    },
}


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    described = Publishing(json.dumps(DESCRIPTION).encode())
    server = publishing(described)
    folder: Path = tmp_path_factory.mktemp("gateway")
    upstream = {"url": f"http://127.0.0.1:{described.port}", "openapi": "/openapi.json"}
    routes: tuple[dict[str, object], ...] = (
        {"prefix": "/api/v1/agenda", "upstream": "agenda", "strip": "/agenda"},
        {"prefix": "/api/v1/billing", "upstream": "billing", "strip": "/billing", "access": "STAFF"},
    )
    upstreams: dict[str, object] = {"agenda": upstream, "billing": upstream}
    settings = some_settings(folder, dsn=migrated_dsn, upstreams=upstreams, routes=routes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet_module, "REFRESH_S", 0.2)
        with running_gateway(settings) as url:
            assert becomes_true(
                lambda: "many_119" in operations(url), within_s=30
            )  # described, some time after the start
            yield url
    stop(server)


def operations(url: str) -> str:
    return httpx.get(f"{url}/api/v1/operations/", headers=as_("root", "admin"), timeout=30).text


async def _all_names(url: str, role: str) -> list[list[str]]:
    """Read every page."""
    pages: list[list[str]] = []
    async with mcp_client(url, somebody(), role) as client:
        cursor: str | None = None
        while not pages or cursor:
            page = await client.list_tools(cursor=cursor)
            pages.append([tool.name for tool in page.tools])
            cursor = page.next_cursor
    return pages


async def test_a_long_list_comes_in_pages_and_has_what_the_role_may_use(gateway_url: str) -> None:
    of_user = await _all_names(gateway_url, "user")
    of_staff = await _all_names(gateway_url, "manager")

    assert [len(page) for page in of_user] == [100, 15 + 122 - 100]
    names = {name for page in of_user for name in page}
    assert "agenda_read_event" in names
    assert not any(name.startswith("billing_") for name in names)
    assert "billing_read_event" in {name for page in of_staff for name in page}


async def test_an_operation_is_called_as_the_caller(gateway_url: str) -> None:
    async with mcp_client(gateway_url, somebody()) as client:
        found = await use(client, "agenda_read_event", event_id=7)
        missing = await refused(client, "agenda_read_event")
        odd = await refused(client, "agenda_read_event", event_id="..")
        not_done = await refused(client, "agenda_make_order")  # the service knows no POST
        with pytest.raises(MCPError, match="Unknown tool: billing_read_event"):
            await client.call_tool("billing_read_event", {"event_id": 7})

    assert found == {"path": "/api/v1/events/7"}
    assert missing.startswith("validation-failed: event_id is missing")
    assert odd.startswith("validation-failed")
    assert not_done.startswith("operation-refused: ")
