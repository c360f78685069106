"""What is different in production: no pages about us unless asked for, and a developer is nobody special."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, open_chat, somebody

DOCS = ("/docs", "/docs/", "/docs/swagger", "/docs/openapi.json", "/openapi.json")


@contextmanager
def gateway(folder: Path, dsn: str, *, mode: str = "TEST", docs: bool | None = None) -> Iterator[httpx.Client]:
    with (
        running_gateway(some_settings(folder, dsn=dsn, mode=mode, docs=docs)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def test_in_production_there_are_no_docs_and_a_developer_has_no_rights(migrated_dsn: str, tmp_path: Path) -> None:
    with gateway(tmp_path, migrated_dsn, mode="PROD") as client:
        docs = [client.get(path) for path in DOCS]
        developer = [
            client.get(path, headers=as_(somebody(), "developer"))
            for path in ("/api/v1/chats/", "/api/v1/messages/", "/api/v1/agents/")
        ]
        health = client.get("/api/health/service_health", headers=as_(somebody(), "developer"))

    assert [(page.status_code, page.json()["type"]) for page in docs] == [(404, "route-not-found")] * len(DOCS)
    assert [(answer.status_code, answer.json()["type"]) for answer in developer] == [(403, "role-not-allowed")] * 3
    assert {one["details"] for one in health.json()["deps"]} == {None}


def test_in_production_docs_are_served_when_asked_for(migrated_dsn: str, tmp_path: Path) -> None:
    with gateway(tmp_path, migrated_dsn, mode="PROD", docs=True) as client:
        assert {client.get(path).status_code for path in DOCS} == {200}


def test_outside_production_docs_can_be_turned_off(migrated_dsn: str, tmp_path: Path) -> None:
    with gateway(tmp_path, migrated_dsn, docs=False) as client:
        assert {client.get(path).status_code for path in DOCS} == {404}


def test_outside_production_a_developer_is_in_every_group(client: httpx.Client) -> None:
    developer = as_(somebody(), "developer")
    chat_id = open_chat(client, somebody())["id"]

    assert client.get(f"/api/v1/chats/{chat_id}", headers=developer).status_code == 200
    assert client.get("/api/v1/messages/", headers=developer).status_code == 200


@pytest.mark.parametrize("role", ["guest", "stranger", "Admin", "ADMIN", ""])
def test_a_role_nobody_knows_opens_nothing(client: httpx.Client, role: str) -> None:
    answer = client.get("/api/v1/chats/", headers=as_(somebody(), role))

    assert answer.status_code in {401, 403}


@pytest.mark.parametrize("path", DOCS)
def test_docs_ask_for_no_token(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200
