"""`portico routes` as operators run it: what it prints, what it finds wrong, what it says about one request."""

import json
import os
import signal
import subprocess
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest

from app import main as root
from app.surfaces.cli.main import main as command_line
from tests.builders import public_pem
from tests.e2e.program import bare_environment, run

GOOD = """
[upstreams.agenda]
url = "${AGENDA_SERVICE_URL}/base"

[[routes]]
path = "/api/v1/agenda/public"
methods = ["GET"]
upstream = "agenda"
access = "PUBLIC"

[[routes]]
prefix = "/api/v1/agenda"
upstream = "agenda"
access = "STAFF"
strip = "/agenda"

[[routes]]
prefix = "/api/v1"
local = true
access = "PRIVATE"
"""


def routes(folder: Path, table: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command within this process, which has imported what it needs."""
    config = folder / "gateway.toml"
    config.write_text(table, "utf-8")
    values = {"JWT_PUBLIC_KEY": public_pem(), "MODE": "PROD", "AGENDA_SERVICE_URL": "http://agenda.test:8001", **env}
    out, err = StringIO(), StringIO()
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with (
            patch.dict(os.environ, bare_environment(folder, **values), clear=True),
            chdir(folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = command_line(lambda: root, ["routes", "--config", str(config), *arguments])
    finally:
        signal.signal(signal.SIGTERM, on_term)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def test_the_program_prints_what_the_tests_below_see(tmp_path: Path) -> None:
    here = routes(tmp_path, GOOD)
    values = {"JWT_PUBLIC_KEY": public_pem(), "MODE": "PROD", "AGENDA_SERVICE_URL": "http://agenda.test:8001"}

    said = run(tmp_path, "routes", "--config", str(tmp_path / "gateway.toml"), env=values)

    assert (said.returncode, said.stdout, said.stderr) == (here.returncode, here.stdout, here.stderr)


def test_the_table_is_printed_row_by_row(tmp_path: Path) -> None:
    said = routes(tmp_path, GOOD)

    rows = [line.split() for line in said.stdout.splitlines()]
    assert said.returncode == 0
    assert rows == [
        ["GET", "/api/v1/agenda/public", "PUBLIC", "http://agenda.test:8001/base"],
        ["*", "/api/v1/agenda/*", "STAFF", "http://agenda.test:8001/base"],
        ["*", "/api/v1/*", "PRIVATE", "local"],
    ]


def test_every_endpoint_of_an_upstream_is_printed(tmp_path: Path) -> None:
    table = GOOD.replace('url = "${AGENDA_SERVICE_URL}/base"', 'urls = ["http://a.test/base", "http://b.test/base"]')

    listed, explained = routes(tmp_path, table), routes(tmp_path, table, "explain", "GET", "/api/v1/agenda/public")

    assert listed.stdout.splitlines()[0].split()[3:] == ["http://a.test/base", "http://b.test/base"]
    to = [line.split()[1] for line in explained.stdout.splitlines() if line.startswith("  to ")]
    assert to == [f"http://{host}.test/base/api/v1/agenda/public" for host in "ab"]


def test_a_good_table_is_checked_with_nothing_to_say(tmp_path: Path) -> None:
    said = routes(tmp_path, GOOD, "check")

    assert said.returncode == 0
    assert said.stdout == f"{tmp_path}/gateway.toml: 3 routes, nothing wrong\n"
    assert said.stderr == ""


def test_every_problem_of_the_rows_is_listed_with_file_key_and_mend(tmp_path: Path) -> None:
    table = GOOD.replace('strip = "/agenda"', 'strip = "/agend"').replace('upstream = "agenda"', 'upstream = "gone"', 1)

    said = routes(tmp_path, table + '[[routes]]\nprefix = "/x/"\nlocal = true\nmethods = ["get"]', "check")

    problems = said.stderr.splitlines()
    assert said.returncode == 2
    assert [problem.partition("gateway.toml: ")[2].partition(": ")[0] for problem in problems] == [
        "routes[1] (GET /api/v1/agenda/public)",
        "routes[2] (/api/v1/agenda/*)",
        "routes[4] (get /x/*)",
        "routes[4] (get /x/*)",
    ]
    assert all("gateway.toml: " in problem and "; " in problem for problem in problems)


def test_every_problem_of_the_settings_is_listed_with_file_key_and_mend(tmp_path: Path) -> None:
    table = GOOD + 'colour = "red"\n[settings]\nlog_level = "loud"\nshape = 1\n'

    said = routes(tmp_path, table, "check", MODE="prod", AGENDA_SERVICE_URL="", CORS_ORIGINS="*")

    problems = said.stderr
    assert said.returncode == 2
    for words in (
        f"{tmp_path}/gateway.toml: settings.shape: is not a setting; remove it or mend its name",
        "upstreams.agenda: AGENDA_SERVICE_URL is not set; set AGENDA_SERVICE_URL in the environment or .env",
        "routes.2.colour: is not a known key; remove it or mend its name",
        "settings.log_level: ",
        "environment: MODE: ",
        "environment: CORS_ORIGINS: no origins: *",
    ):
        assert words in problems
    assert "Traceback" not in problems


@pytest.mark.parametrize(
    ("request_", "lines"),
    [
        (
            ("GET", "/api/v1/agenda/public"),
            [
                "row     GET /api/v1/agenda/public (exact path)",
                "why     an exact path beats /api/v1/agenda/*, /api/v1/*",
                "access  PUBLIC: everybody, with or without a token",
                "to      http://agenda.test:8001/base/api/v1/agenda/public",
            ],
        ),
        (
            ("post", "/api/v1/agenda/calendars/?x=1"),
            [
                "row     /api/v1/agenda/* (longest prefix)",
                "why     its prefix is longer than that of /api/v1/*",
                "access  STAFF: roles admin, manager",
                "to      http://agenda.test:8001/base/api/v1/calendars/",
            ],
        ),
        (
            ("GET", "/api/v1/chats"),
            [
                "row     /api/v1/* (longest prefix)",
                "why     no other row has this path",
                "access  PRIVATE: nobody",
                "to      local",
            ],
        ),
        (
            ("GET", "http://gateway.test/api/v1/agenda/public/?x=1"),
            [
                "row     /api/v1/agenda/* (longest prefix)",
                "why     its prefix is longer than that of /api/v1/*",
                "access  STAFF: roles admin, manager",
                "to      http://agenda.test:8001/base/api/v1/public/",
            ],
        ),
    ],
    ids=["exact", "stripped", "local", "a URL"],
)
def test_a_request_is_explained(tmp_path: Path, request_: tuple[str, str], lines: list[str]) -> None:
    said = routes(tmp_path, GOOD, "explain", *request_)

    assert said.returncode == 0
    assert [line.strip() for line in said.stdout.splitlines()[1:]] == lines


@pytest.mark.parametrize(
    ("method", "path", "type_"),
    [
        ("POST", "/api/v1/agenda/public", "method-not-allowed"),
        ("GET", "/elsewhere", "route-not-found"),
        ("GET", "/api/v1/../admin", "path-not-allowed"),
        ("GET", "/api/v1/a%2Fb", "path-not-allowed"),
        ("GET", "/api/v1/%61genda", "path-not-allowed"),
    ],
)
def test_a_refusal_is_explained(tmp_path: Path, method: str, path: str, type_: str) -> None:
    said = routes(tmp_path, GOOD, "explain", method, path)

    assert said.returncode == 1
    assert f"refused with {type_}: " in said.stderr
    assert said.stdout == ""


def test_scripts_get_json(tmp_path: Path) -> None:
    listed = json.loads(routes(tmp_path, GOOD, "--json").stdout)
    explained = json.loads(routes(tmp_path, GOOD, "--json", "explain", "GET", "/api/v1/agenda/public").stdout)
    refused = routes(tmp_path, GOOD, "explain", "POST", "/api/v1/agenda/public", "--json")
    sound = json.loads(routes(tmp_path, GOOD, "check", "--json").stdout)
    wrong = routes(tmp_path, GOOD.replace('"agenda"', '"gone"', 1), "check", "--json")

    assert [one["access"] for one in listed] == ["PUBLIC", "STAFF", "PRIVATE"]
    assert (listed[1]["prefix"], listed[1]["methods"], listed[2]["to"]) == ("/api/v1/agenda", [], ["local"])
    assert explained["to"] == ["http://agenda.test:8001/base/api/v1/agenda/public"]
    assert (refused.returncode, json.loads(refused.stdout)["refused"]) == (1, "method-not-allowed")
    assert (sound["routes"], sound["problems"]) == (3, [])
    assert (wrong.returncode, [one["key"] for one in json.loads(wrong.stdout)["problems"]]) == (
        2,
        ["routes[1] (GET /api/v1/agenda/public)"],
    )


def test_a_file_that_is_not_there_is_bad_configuration(tmp_path: Path) -> None:
    said = run(tmp_path, "routes", "--config", "none.toml", "check", env={"JWT_PUBLIC_KEY": public_pem()})

    assert said.returncode == 2
    assert "none.toml: file: cannot be read" in said.stderr
