"""What the documentation says, done: its commands are run and their output compared, its code is loaded."""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.agents.factory import AgentFactory
from app.agents.llm.local_model_host import find_gguf, is_installed

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
ADD_A_ROUTE = ROOT / "docs" / "how-to" / "add-a-route.md"
ADD_AN_AGENT = ROOT / "docs" / "how-to" / "add-an-agent.md"
PAGES = sorted({README, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")})
BIN = Path(sys.executable).parent
FLEET = {
    "AUTH_SERVICE_URL": "http://127.0.0.1:8001",
    "AGENDA_SERVICE_URL": "http://127.0.0.1:8002",
    "SNAPSHOT_SERVICE_URL": "http://127.0.0.1:8003",
    "JWT_JWKS_URL": "http://127.0.0.1:8001/.well-known/jwks.json",
}


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    output: str


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def steps(page: Path) -> list[Step]:
    """Read `$ command` lines and what is printed below each."""
    found: list[Step] = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output.strip()))
    return found


def outputs(commands: list[str], *, cwd: Path, environ: dict[str, str]) -> list[str]:
    """Run all commands in one shell, so that a later one sees an earlier one's variables."""
    mark = "=-=-= next =-=-="
    script = f"\necho '{mark}'\n".join(commands)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=cwd,
        env=os.environ | environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [part.strip() for part in done.stdout.split(mark)]


def shape(text: str) -> object:
    """Reduce a JSON text to what holds in every run: numbers, times, request and run ids differ."""
    return json.loads(text, object_hook=_stable, parse_int=lambda _: 0)


def _stable(found: dict[str, object]) -> dict[str, object]:
    volatile = {name for name in found if name.endswith(("_at", "At")) or name in {"request_id", "run_id"}}
    return {name: type(value).__name__ if name in volatile else value for name, value in found.items()}


@pytest.fixture
def demo_url() -> Iterator[str]:
    """The demo as a newcomer starts it, on an empty folder and a free port."""
    if not (is_installed() and find_gguf()):
        pytest.skip("the local model is not installed")
    folder = Path(tempfile.mkdtemp(prefix="portico-docs-"))
    folder.chmod(0o711)  # the database runs as another account when we are root
    command = [sys.executable, "-m", "app", "demo", "--port", "0", "--data-dir", str(folder)]
    environ = {name: value for name, value in os.environ.items() if name != "DEFAULT_MODEL"} | {"LOG_LEVEL": "40"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT) as child:
        assert child.stdout is not None
        try:
            yield next(found[1] for line in child.stdout if (found := re.search(r"Portico is at (\S+)", line)))
        finally:
            child.terminate()  # a program that was started in the background may not hear Ctrl-C
            child.wait(40)


def test_the_readmes_calls_answer_what_they_say(demo_url: str, tmp_path: Path) -> None:
    told = steps(README)

    heard = outputs(
        [step.command.replace("http://127.0.0.1:8000", demo_url) for step in told], cwd=tmp_path, environ={}
    )

    answers = [(shape(got), shape(step.output)) for step, got in zip(told, heard, strict=True) if step.output]
    assert len(answers) == 5
    for got, expected in answers:
        assert got == expected


def test_the_route_of_the_how_to_is_explained_as_it_says(tmp_path: Path) -> None:
    rows = "\n".join(blocks(ADD_A_ROUTE, "toml"))
    (tmp_path / "gateway.toml").write_text((ROOT / "gateway.toml").read_text() + rows)
    told = steps(ADD_A_ROUTE)

    heard = outputs([step.command for step in told], cwd=tmp_path, environ=FLEET)

    assert heard == [step.output for step in told]


def test_the_agents_of_the_how_to_are_found_and_the_command_lists_the_rest(tmp_path: Path) -> None:
    for number, code in enumerate(blocks(ADD_AN_AGENT, "python")):
        (tmp_path / f"how_to_agent_{number}.py").write_text(code)
    told = steps(ADD_AN_AGENT)

    heard = outputs([step.command for step in told], cwd=tmp_path, environ={})
    imports = "import how_to_agent_0 as a, how_to_agent_1 as b, how_to_agent_2 as c"
    listed = subprocess.run(
        [sys.executable, "-c", f"{imports}; print(a.agent.name, b.Shout.name, c.agent.name)"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert heard == [step.output for step in told]
    assert listed.stdout.split() == ["support", "shout", "payments"]
    assert "support" not in AgentFactory.discover().agents


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))

    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_toml_block_of_a_page_can_be_read(page: Path) -> None:
    for block in blocks(page, "toml"):
        tomllib.loads(block)


def test_every_file_that_the_architecture_names_exists() -> None:
    named = re.findall(
        r"`(app/[\w/.]+\.py|app/[\w/]+/|tests/[\w/.]+\.py)`", (ROOT / "docs/architecture.md").read_text()
    )

    missing = [name for name in named if not (ROOT / name).exists()]

    assert named
    assert missing == []
