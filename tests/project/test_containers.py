"""The compose files: what they set is known, what they name exists, and the gateway accepts the settings it gets."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
FILES = ("docker-compose.yml", "docker-compose.prod.yml")
DATABASE_IMAGE = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}
FLEET = ("auth", "agenda", "analytics")
ASKED = re.compile(r"\$\{(\w+):\?[^}]+\}")

# Any: a service of a compose file is a tree of YAML.
type Service = Mapping[str, Any]
CASES = [(file, name) for file in FILES for name in yaml.safe_load((ROOT / file).read_text("utf-8"))["services"]]


def _compose(file: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / file).read_text("utf-8"))
    return document


def _service(file: str, name: str) -> Service:
    service: Service = _compose(file)["services"][name]
    return service


def _port(service: Service) -> str:
    command = service.get("command", ["--port", "8000"])  # the image's own command when there is none
    port: str = command[command.index("--port") + 1]
    return port


def _set_by(service: Service, answer: str) -> dict[str, str]:
    """The variables with a value, every `${NAME:?...}` answered with the same word."""
    given: Mapping[str, str | None] = service["environment"]
    return {name: ASKED.sub(answer, value) for name, value in given.items() if value is not None}


def _documented_settings() -> set[str]:
    text = (ROOT / ".env.example").read_text("utf-8")
    return set(re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=", text, flags=re.MULTILINE))


def _variables_of_the_fleet() -> set[str]:
    sources = (ROOT / "examples" / "fleet" / "portico_fleet").rglob("*.py")
    read = re.compile(r"""(?:environ\.get|env)\(\s*"([A-Z][A-Z0-9_]*)\"""")
    return {name for source in sources for name in read.findall(source.read_text("utf-8"))}


def _known_variables(service: str) -> set[str]:
    if service == "postgres":
        return DATABASE_IMAGE
    return _documented_settings() if service == "gateway" else _variables_of_the_fleet()


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name not in {"PATH", "HOME"}:
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(("file", "name"), CASES)
def test_a_service_is_watched_on_the_port_that_it_serves(file: str, name: str) -> None:
    service = _service(file, name)

    check = service["healthcheck"]["test"]

    assert check[0] == "CMD"
    if name == "postgres":
        # over TCP: while the image initialises, its server answers on the socket alone
        assert check[1:4] == ["pg_isready", "--host", "127.0.0.1"]
    else:
        assert f"http://127.0.0.1:{_port(service)}/api/health/ping" in check[-1]


@pytest.mark.parametrize(("file", "name"), CASES)
def test_a_service_waits_only_for_services_that_can_become_healthy(file: str, name: str) -> None:
    services = _compose(file)["services"]

    awaited = services[name].get("depends_on", {})

    assert all(condition == {"condition": "service_healthy"} for condition in awaited.values())
    assert all("healthcheck" in services[other] for other in awaited)


@pytest.mark.parametrize(("file", "name"), CASES)
def test_every_volume_is_declared_or_a_file_that_exists(file: str, name: str) -> None:
    declared = _compose(file)["volumes"]

    sources = [volume.partition(":")[0] for volume in _service(file, name).get("volumes", ())]

    assert all(source in declared or (ROOT / source).is_file() for source in sources)


@pytest.mark.parametrize(("file", "name"), CASES)
def test_every_variable_is_one_that_the_program_documents(file: str, name: str) -> None:
    known = _known_variables(name)

    used = set(_service(file, name).get("environment", {}))

    assert used <= known


def test_the_database_is_postgresql_17_for_both() -> None:
    images = {_service(file, "postgres")["image"] for file in FILES}

    assert images == {"postgres:17"}


def test_the_whole_system_is_the_gateway_its_database_and_the_fleet() -> None:
    services = _compose("docker-compose.yml")["services"]

    assert set(services) == {"gateway", "postgres", *FLEET}
    assert services["gateway"]["ports"] == ["127.0.0.1:8000:8000"]
    assert all("ports" not in service for name, service in services.items() if name != "gateway")


def test_the_gateway_accepts_its_settings_and_finds_the_fleet(bare_environment: pytest.MonkeyPatch) -> None:
    services = _compose("docker-compose.yml")["services"]
    for name, value in _set_by(services["gateway"], "").items():
        bare_environment.setenv(name, value)

    settings = read_settings(ROOT / "gateway.toml")

    fleet = {name: f"http://{name}:{_port(services[name])}" for name in FLEET}
    assert {name: row.url for name, row in settings.gateway.upstreams.items()} == fleet
    assert settings.jwt_jwks_url == f"{fleet['auth']}/.well-known/jwks.json"


def test_the_gateway_and_its_database_agree_on_the_account() -> None:
    services = _compose("docker-compose.yml")["services"]
    database = services["postgres"]["environment"]

    dsn = services["gateway"]["environment"]["POSTGRES_DSN"]

    account = f"{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}"
    assert dsn == f"postgresql+asyncpg://{account}@postgres:5432/{database['POSTGRES_DB']}"


def test_the_gateway_for_real_use_accepts_its_settings(bare_environment: pytest.MonkeyPatch) -> None:
    for name, value in _set_by(_service("docker-compose.prod.yml", "gateway"), "http://answered").items():
        bare_environment.setenv(name, value)

    settings = read_settings(ROOT / "gateway.toml")

    assert settings.is_prod
    assert settings.jwt_issuer == settings.jwt_audience == "http://answered"


def test_the_file_for_real_use_holds_no_secret_and_no_guess() -> None:
    text = (ROOT / "docker-compose.prod.yml").read_text("utf-8")

    asked = set(ASKED.findall(text))

    assert {"POSTGRES_PASSWORD", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE"} <= asked
    assert re.findall(r"\$\{\w+(?!\w)(?!:\?)", text) == []
    assert _service("docker-compose.prod.yml", "postgres")["environment"]["POSTGRES_PASSWORD"].startswith("${")


def test_the_gateway_for_real_use_is_alone_with_its_database_and_locked_down() -> None:
    services = _compose("docker-compose.prod.yml")["services"]
    gateway = services["gateway"]

    assert set(services) == {"gateway", "postgres"}
    assert gateway["ports"] == ["8000:8000"]
    assert "ports" not in services["postgres"]
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}


def test_the_image_is_of_the_python_that_the_project_names() -> None:
    pinned = (ROOT / ".python-version").read_text("utf-8").strip()

    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)

    assert set(bases) == {f"python:{pinned}-slim"}
