"""What an embedded assistant is set to, and whose word counts about who calls."""

from pathlib import Path
from typing import Any

import pytest

from app.agents.contract import Agent
from app.embedding import Caller, create_agent, embedded_settings, portico_app
from app.settings import ConfigurationInvalid
from app.surfaces.embedding.entrance import Entrance, HostEntrance, LocalEntrance
from tests.builders import public_pem


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("JWT_PUBLIC_KEY", "JWT_JWKS_URL", "POSTGRES_DSN", "DEFAULT_MODEL", "GATEWAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)


async def ann(scope: object) -> Caller:
    return Caller("ann")


def test_only_our_own_doors_are_there(tmp_path: Path) -> None:
    settings = embedded_settings(tmp_path / "state")

    assert settings.gateway.upstreams == {}
    assert all(row.local for row in settings.gateway.routes)
    assert {"/api/v1", "/api/health"} <= {row.prefix for row in settings.gateway.routes}


def test_the_database_and_the_table_of_a_gateway_nearby_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://gateway@db/prod")
    monkeypatch.setenv("FRONT_DOOR_URL", "https://gateway.example")
    (tmp_path / "gateway.toml").write_text("broken")

    settings = embedded_settings(tmp_path / "state", model="scripted", cors_origins=["http://localhost:3000"])

    assert (settings.postgres_dsn, settings.front_door_url, settings.default_model) == ("", "", "scripted")
    assert settings.data_dir == tmp_path / "state"
    assert settings.cors_origins == ("http://localhost:3000",)
    assert embedded_settings(tmp_path, postgres_dsn="postgresql://mine@db/mine").postgres_dsn.endswith("//mine@db/mine")


def test_who_calls_is_the_hosts_word_then_a_tokens_then_the_local_users(monkeypatch: pytest.MonkeyPatch) -> None:
    local = create_agent("Be brief.", model="scripted", state_dir=Path("state"))
    hosts = create_agent("Be brief.", model="scripted", state_dir=Path("state"), authenticate=ann)
    monkeypatch.setenv("JWT_PUBLIC_KEY", public_pem())
    tokens = create_agent("Be brief.", model="scripted", state_dir=Path("state"))
    still_hosts = create_agent("Be brief.", model="scripted", state_dir=Path("state"), authenticate=ann)

    kinds = [type(app._entrance) for app in (local, hosts, tokens, still_hosts)]
    assert kinds == [LocalEntrance, HostEntrance, Entrance, HostEntrance]


async def untyped(ctx, x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - that is what is wrong with it
    """Do something."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "No Name"}, "is not of the form"),
        ({"tools": [untyped]}, "is not a ToolContext"),
        ({"model": "nobody:knows"}, "nobody:knows"),
        ({"mcp_servers": {"files": {}}}, "needs either command"),
        ({"mcp_servers": {"files": {"url": "https://x.example/mcp", "headers": {"x": "${NOT_SET}"}}}}, "NOT_SET"),
        ({"cors_origins": ["*"]}, "CORS_ORIGINS|cors_origins"),
    ],
    ids=["name", "tool", "model", "server", "variable", "origin"],
)
def test_what_cannot_work_is_said_at_once(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=words):
        create_agent("Be brief.", **{"state_dir": Path("state"), "model": "scripted", **given})


def test_two_agents_of_one_name_are_refused() -> None:
    one, other = (Agent(name="one", description=text, instructions="") for text in ("a", "b"))

    with pytest.raises(ConfigurationInvalid, match="already an agent 'one'"):
        portico_app(embedded_settings(Path("state"), model="scripted"), agents=[one, other])
