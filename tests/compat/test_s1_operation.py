"""S1 Multi-Agent Service: the system as a whole, its commands and settings, and what is shipped (docs/originals.md)."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml

from tests.builders import public_pem
from tests.compat.conftest import Caller, Fleet
from tests.compat.journeys import (
    CALENDARS,
    CHATS,
    MESSAGES,
    SESSIONS,
    exchange,
    make,
    register,
    seen,
)
from tests.e2e.program import ROOT, Program, becomes_true, free_port, run, running
from tests.e2e.upstream import PLAIN, RawUpstream

ORIGINAL_ENVIRONMENT = """\
MODE=STAGE
DEBUG=true
POSTGRES_DSN=postgresql+asyncpg://user:password@localhost:5432/dbname
POSTGRES_SCHEMA=public
DATABASE_POOL_SIZE=30
DATABASE_MAX_POOL_OVERFLOW=20
DATABASE_POOL_TIMEOUT=30
DATABASE_POOL_RECYCLE=300
JWT_ALGORITHM=RS256
AUTH_SERVICE_URL=http://auth.internal:8001
AGENDA_SERVICE_URL=http://agenda.internal:8001
SNAPSHOT_SERVICE_URL=http://snapshot.internal:8001
LOG_LEVEL=10
LOG_JSON=true
"""
UNDERSTOOD = {
    "mode": "STAGE",
    "debug": True,
    "postgres_dsn": "postgresql+asyncpg://user:password@localhost:5432/dbname",
    "postgres_schema": "public",
    "database_pool_size": 30,
    "database_max_pool_overflow": 20,
    "database_pool_timeout": 30,
    "database_pool_recycle": 300,
    "jwt_algorithm": "RS256",
    "auth_service_url": "http://auth.internal:8001",
    "agenda_service_url": "http://agenda.internal:8001",
    "snapshot_service_url": "http://snapshot.internal:8001",
    "log_level": 10,
    "log_json": True,
}
TELL_SETTINGS = """
from app.settings import find_config, load_dotenv, read_settings
load_dotenv()
print(read_settings(find_config()).model_dump_json(exclude={"gateway"}))
"""
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/request-life.md",
    "docs/how-to/add-a-route.md",
    "docs/how-to/add-an-agent.md",
    "docs/how-to/add-an-endpoint.md",
    "docs/errors.md",
    "docs/glossary.md",
    "docs/originals.md",
    "docs/decisions/README.md",
)


# --- the system as a whole


def test_one_login_opens_proxied_calls_and_chats(visitor: httpx.Client, demo: Program) -> None:
    visitor.post(SESSIONS, json=register(visitor))  # the cookies it sets are all that is used below
    visitor.headers["origin"] = demo.url

    calendar = make(visitor, CALENDARS, name="Work")
    chat = make(visitor, CHATS, agent="echo")
    messages = exchange(visitor, chat["id"], "Hello")

    assert visitor.get("/api/v1/auth/users/me").json()["id"] == int(calendar["userId"])
    assert chat["user_id"] == calendar["userId"]
    assert messages[1]["content"] == "Hello"


async def test_a_hundred_requests_at_once_are_all_answered(caller: Caller) -> None:
    user = caller()
    make(user, CALENDARS, name="Work")
    make(user, CHATS, title="Plans")
    paths = [CALENDARS, CHATS] * 50

    async with httpx.AsyncClient(
        base_url=user.base_url, headers=user.headers, timeout=60, limits=httpx.Limits(max_connections=100)
    ) as client:
        answers = await asyncio.gather(*(client.get(path) for path in paths))

    assert [answer.status_code for answer in answers] == [200] * 100
    assert {answer.json()["total"] for answer in answers} == {1}


def is_logged(gateway: Program, request_id: str) -> bool:
    return bool(gateway.logged("request.answered", request_id=request_id))


def test_each_request_leaves_one_structured_log_line(caller: Caller, demo: Program) -> None:
    user = caller(sub="logged")

    answers = {200: user.get(CALENDARS), 403: user.get(MESSAGES), 404: user.get("/nowhere")}

    for status, answer in answers.items():
        request_id = answer.headers["x-request-id"]
        assert becomes_true(partial(is_logged, demo, request_id), within_s=5)
        (line,) = demo.logged("request.answered", request_id=request_id)
        assert line["status"] == status
        assert line["reason"]
        assert 0 < line["seconds"] < 60
    (proxied,) = demo.logged("request.answered", request_id=answers[200].headers["x-request-id"])
    assert (proxied["path"], proxied["user_id"], proxied["reason"]) == (CALENDARS, "logged", "proxied")
    assert user.headers["authorization"].partition(" ")[2] not in demo.complained()


@pytest.mark.soak
def test_production_takes_the_developer_role_out_of_every_group(caller: Caller, production: Program) -> None:
    paths = (CHATS, MESSAGES, CALENDARS, "/api/v1/nobody/x")

    elsewhere = [caller("developer").get(path).status_code for path in paths[:3]]
    developer = [caller("developer", url=production.url).get(path).status_code for path in paths]
    admin = [caller("admin", url=production.url).get(path).status_code for path in paths]
    docs = httpx.get(f"{production.url}/docs")

    assert elsewhere == [200, 200, 200]
    assert developer == [403, 403, 403, 403]
    assert admin == [200, 200, 200, 403]
    assert docs.status_code == 404
    assert becomes_true(lambda: bool(production.logged("request.answered", path="/docs", status=404)), within_s=5)


def test_a_row_in_gateway_toml_is_a_new_proxied_route(
    caller: Caller, production: Program, recorder: RawUpstream
) -> None:
    recorder.answer = PLAIN

    there = caller(url=production.url).get("/api/v1/recorder/things/1")
    not_here = caller().get("/api/v1/recorder/things/1")

    assert (there.status_code, there.text) == (200, "ok")
    assert recorder.last_target == "/api/v1/things/1"
    assert not_here.status_code == 404


def test_a_chat_begun_at_one_gateway_goes_on_at_another(caller: Caller, production: Program) -> None:
    sub = uuid.uuid4().hex
    here, there = caller(sub=sub), caller(sub=sub, url=production.url)
    chat = make(here, CHATS)
    exchange(here, chat["id"], "Begun here")

    answer = exchange(there, chat["id"], "Going on there")[1]

    assert answer["content"].endswith("(turn 2; the first thing you said: Begun here)")
    assert len(here.get(f"{CHATS}{chat['id']}/messages").json()["items"]) == 4


def test_one_turn_at_a_time_holds_across_gateways(home: Path, caller: Caller, production: Program) -> None:
    sub, sign_given = uuid.uuid4().hex, home / f"sign-{uuid.uuid4().hex}"
    here, there = caller(sub=sub), caller(sub=sub, url=production.url)
    chat = make(here, CHATS, agent="patient")
    first: list[str] = []
    turn = threading.Thread(target=lambda: first.append(exchange(here, chat["id"], str(sign_given))[1]["content"]))
    turn.start()
    assert becomes_true(lambda: bool(there.get(f"{CHATS}{chat['id']}/messages").json()["items"]), within_s=15)

    busy = there.post(f"{MESSAGES}{chat['id']}/exchange", json={"content": str(sign_given)})
    sign_given.touch()
    turn.join(30)
    free = exchange(there, chat["id"], str(sign_given))[1]

    assert seen(busy) == (409, "chat-busy")
    assert first == ["it is there"]
    assert free["content"] == "it is there"


@pytest.mark.soak
def test_uvicorn_serves_the_same_system(home: Path, data_dir: Path, fleet: Fleet, caller: Caller) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "uvicorn", "app.asgi:app", "--host", "127.0.0.1", "--port", str(port))
    with running(home / "uvicorn", *command, url=url, **fleet.settings(data_dir)) as gateway:
        gateway.awaits(gateway.is_ready)
        user = caller(url=url)

        answers = [user.get(CALENDARS), user.get("/nowhere"), httpx.get(url + CHATS)]
        said = exchange(user, make(user, CHATS, agent="echo")["id"], "Hello")

    assert [answer.status_code for answer in answers] == [200, 404, 401]
    assert said[1]["content"] == "Hello"


# --- settings and commands


def test_the_originals_environment_is_understood(home: Path) -> None:
    folder = home / "original"
    folder.mkdir()
    one_line_pem = public_pem().replace("\n", "\\n")
    (folder / ".env").write_text(ORIGINAL_ENVIRONMENT + f'JWT_PUBLIC_KEY="{one_line_pem}"\n')

    told = run(folder, "-c", TELL_SETTINGS, program=(sys.executable,))
    routes = run(folder, "routes")

    assert told.returncode == 0, told.stderr
    settings = json.loads(told.stdout)
    assert settings.items() >= UNDERSTOOD.items()
    assert settings["jwt_public_key"] == public_pem().strip()
    assert routes.returncode == 0, routes.stderr
    assert all(f"http://{name}.internal:8001" in routes.stdout for name in ("auth", "agenda", "snapshot"))


def test_bad_configuration_exits_with_every_problem_listed(home: Path) -> None:
    folder = home / "bad"
    folder.mkdir()
    (folder / "gateway.toml").write_text(
        '[settings]\nmod = "PROD"\n[upstreams.auth]\nurl = "${AUTH_SERVICE_URL}"\ncolour = "red"\n'
        '[[routes]]\nprefix = "/api"\nupstream = "auth"\naccess = "EVERYBODY"\n'
    )
    wrong = {"LOG_LEVEL": "loud", "DATABASE_POOL_SIZE": "0", "POSTGRES_DSN": "postgresql+asyncpg://u:s3cret@h/d"}

    ended = run(folder, "serve", env=wrong)

    problems = ended.stderr.splitlines()
    expected = ("settings.mod:", "AUTH_SERVICE_URL", "access:", "LOG_LEVEL:", "DATABASE_POOL_SIZE:", "JWT_PUBLIC_KEY")
    assert ended.returncode == 2
    assert [word for word in expected if not any(word in line for line in problems)] == []
    assert all(line.startswith("portico: ") for line in problems)
    assert "s3cret" not in ended.stderr


@pytest.mark.soak
def test_the_route_table_explains_itself(home: Path, fleet: Fleet, data_dir: Path) -> None:
    settings = fleet.settings(data_dir)

    table = run(home, "routes", env=settings)
    checked = run(home, "routes", "check", env=settings)
    explained = run(home, "routes", "explain", "GET", "/api/v1/agenda/calendars/?limit=1", env=settings)
    refused = run(home, "routes", "explain", "GET", "/api/v2/nowhere", env=settings)

    assert len(table.stdout.splitlines()) == int(re.findall(r"(\d+) routes, nothing wrong", checked.stdout)[0])
    assert "/api/v1/agenda/*" in explained.stdout
    assert "COMMON: roles admin, developer, manager, user" in explained.stdout
    assert f"to      {fleet.agenda}/api/v1/calendars/" in explained.stdout
    assert (checked.returncode, explained.returncode) == (0, 0)
    assert refused.returncode == 1
    assert "route-not-found" in refused.stderr


@pytest.mark.soak
def test_the_database_commands_upgrade_downgrade_and_revise(home: Path, database_dsn: str) -> None:
    copy = home / "copy"  # `revision` writes a file beside the migrations: not into this checkout
    shutil.copytree(ROOT / "app", copy / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "gateway.toml", copy)
    settings = {
        "POSTGRES_DSN": database_dsn,
        "POSTGRES_SCHEMA": "ledger",
        "JWT_PUBLIC_KEY": public_pem(),
        "PYTHONPATH": str(copy),
        **dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), "http://127.0.0.1:9"),
    }
    litestar = (sys.executable, "-m", "litestar", "--app", "app.asgi:app", "database")
    portico = (sys.executable, "-m", "app", "db")

    def command(program: Sequence[str], *arguments: str) -> str:
        ended = run(copy, *arguments, program=program, env=settings)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    empty = command(portico, "status")
    upgraded = command(litestar, "upgrade")
    current = command(portico, "status")
    command(litestar, "revision", "--autogenerate", "-m", "nothing changed")
    revised = command(portico, "status")
    downgraded = command(litestar, "downgrade", "base")
    again = command(portico, "upgrade", "head")

    (made,) = (copy / "app" / "migrations" / "versions").glob("*_nothing_changed.py")
    head = re.findall(r"at (\w+)", upgraded)[0]
    assert empty.startswith("at None, this version needs ")
    assert f"at {head}, this version needs {head}\n" in current
    assert "run `portico db upgrade`" in revised
    assert f'down_revision: str | None = "{head}"' in made.read_text("utf-8").replace("'", '"')
    assert "at None" in downgraded
    assert f"at {head}" not in again


# --- what the project ships


def test_one_command_runs_every_check() -> None:
    steps = subprocess.run(["make", "-n", "check"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")

    assert all(step in steps for step in ("ruff format --check", "ruff check", "mypy", "lint-imports", "pytest"))
    assert "exec make --no-print-directory check" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "check.yml").read_text("utf-8")
    assert all(tool in hooks for tool in ("ruff format", "ruff check", "mypy", "lint-imports"))
    assert project["ruff"]["lint"]["select"] == ["ALL"]
    assert project["mypy"]["strict"] is True
    assert set(project["mypy"]["files"]) >= {"app", "tests"}
    assert project["coverage"]["report"]["fail_under"] >= 90
    assert project["importlinter"]["contracts"]


def test_the_project_states_its_python_and_locks_its_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))

    locked = {package["name"] for package in lock["package"]}
    wanted = {re.split(r"[\[<>=;~ ]", dependency)[0] for dependency in project["dependencies"]}
    assert project["name"] == "portico-gateway"
    assert project["requires-python"] == lock["requires-python"] == ">=3.12"
    assert (ROOT / ".python-version").read_text("utf-8").strip() == "3.13"
    assert wanted <= locked


def test_the_image_is_built_in_stages_and_checks_its_health() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()

    bases = [line for line in lines if line.startswith("FROM ")]
    user = next(line for line in lines if line.startswith("USER "))
    command = next(line for line in lines if line.startswith("CMD "))
    assert len(bases) == 2
    assert "AS builder" in bases[0]
    assert user != "USER root"
    assert json.loads(command.removeprefix("CMD "))[:2] == ["portico", "serve"]
    assert "EXPOSE 8000" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert any("http://127.0.0.1:8000/api/health/ping" in line for line in lines)


def test_the_compose_files_bring_up_gateway_database_and_fleet() -> None:
    whole = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    production = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text("utf-8"))["services"]

    waits = whole["gateway"]["depends_on"]
    assert whole.keys() == {"gateway", "postgres", "auth", "agenda", "analytics"}
    assert waits == {name: {"condition": "service_healthy"} for name in whole if name != "gateway"}
    assert whole["postgres"]["image"] == production["postgres"]["image"] == "postgres:17"
    assert production.keys() == {"gateway", "postgres"}
    assert production["gateway"]["environment"]["MODE"] == "PROD"
    assert production["gateway"]["environment"]["POSTGRES_DSN"].startswith("postgresql+asyncpg://")


@pytest.mark.parametrize("page", PAGES)
def test_the_documentation_has_every_promised_page(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")

    links: list[str] = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert text.startswith("# ")
    assert len(text.split()) > 50
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
