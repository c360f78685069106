"""Discovery: which names of a module are agents, and what stops the start."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from app.agents.contract import AgentBroken, AgentDuplicate
from app.agents.factory import ENTRY_POINT_GROUP, AgentFactory

type Write = Callable[..., str]

AN_AGENT = 'from app.agents.contract import Agent\nagent = Agent(name="{name}", description="d", instructions="i")\n'
A_CLASS = """
class Support:
    name = "support"
    async def generate(self, turn): return "ok"
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Write]:
    """Write a package of agent files and give its name."""
    package = f"agents_of_{abs(hash(request.node.name))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def write(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / package / f"{name}.py").write_text(dedent(text))
        return package

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


def discover(library: str, *points: EntryPoint) -> AgentFactory:
    return AgentFactory.discover(library=library, installed=points)


def test_the_shipped_library_is_found() -> None:
    assert list(AgentFactory.discover(installed=()).agents) == ["agenda", "assistant", "coordinator", "echo"]


def test_a_file_is_the_registration(write: Write) -> None:
    library = write(b=AN_AGENT.format(name="second"), a=AN_AGENT.format(name="first"), c=A_CLASS)

    assert list(discover(library).agents) == ["first", "second", "support"]


def test_what_lies_in_the_working_directory_is_no_agent(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app" / "agents" / "library").mkdir(parents=True)
    (tmp_path / "app" / "agents" / "library" / "stray.py").write_text(AN_AGENT.format(name="stray"))
    monkeypatch.chdir(tmp_path)

    assert "stray" not in AgentFactory.discover(installed=()).agents


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (AN_AGENT.format(name="one") + 'two = Agent(name="two", description="", instructions="")', ["one", "two"]),
        (A_CLASS + "class _Base:\n    async def generate(self, turn): ...", ["support"]),
        (A_CLASS + "support = Support()", ["support"]),
        (AN_AGENT.format(name="one") + "again = agent", ["one"]),
        (AN_AGENT.format(name="one") + "from app.agents.contract import Responder", ["one"]),
        (AN_AGENT.format(name="one") + "from app.agents.library.echo import Echo", ["one"]),
    ],
    ids=["several", "underscore class", "class and its instance", "same twice", "imported port", "imported class"],
)
def test_which_names_of_a_file_count(write: Write, text: str, names: list[str]) -> None:
    assert list(discover(write(some=text)).agents) == names


def test_a_file_that_starts_with_an_underscore_is_not_looked_at(write: Write) -> None:
    library = write(_parts="raise RuntimeError", a=AN_AGENT.format(name="a"))

    assert list(discover(library).agents) == ["a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\nraise RuntimeError('boom\\nmore')", "line 2: RuntimeError: boom"),
        ("def broken(:", "SyntaxError"),
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "defines no agent"),
        (AN_AGENT.format(name="No Spaces"), "the name 'No Spaces'"),
        (AN_AGENT.format(name="x" * 65), "is not of the form"),
        ("class A:\n    async def generate(self, turn): ...", "no name"),
        (A_CLASS.replace('"support"', "3"), "the name 3"),
        (A_CLASS + "    def __init__(self, x): ...", "Support() failed: TypeError"),
    ],
    ids=["raises", "syntax", "import", "exits", "nothing", "spaces", "long", "nameless", "number", "needs arguments"],
)
def test_a_broken_file_stops_the_start_with_its_name_and_reason(write: Write, text: str, reason: str) -> None:
    library = write(broken=text)

    with pytest.raises(AgentBroken) as caught:
        discover(library)

    assert caught.value.where.endswith("broken.py")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


TOOL = """
from app.agents.contract import Agent, ToolContext
{tool}
agent = Agent(name="a", description="", instructions="", tools={tools})
"""


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ("def t(ctx: ToolContext):\n    'Does.'", "the tool t is not an `async def`"),
        ("async def t(ctx: ToolContext): ...", "no docstring"),
        ("async def t(x: int):\n    'Does.'", "not a ToolContext"),
        ("async def t():\n    'Does.'", "not a ToolContext"),
        ("async def t(ctx: ToolContext, x):\n    'Does.'", "the type of x"),
        ("async def t(ctx: ToolContext, x: 'Nowhere'):\n    'Does.'", "cannot be read"),
    ],
    ids=["not async", "no docstring", "no context", "no parameter", "no type", "unknown type"],
)
def test_a_tool_no_model_could_use_stops_the_start(write: Write, tool: str, reason: str) -> None:
    library = write(broken=TOOL.format(tool=tool, tools="[t]"))

    with pytest.raises(AgentBroken, match=reason):
        discover(library)


def test_two_tools_of_one_name_stop_the_start(write: Write) -> None:
    library = write(broken=TOOL.format(tool="async def t(ctx: ToolContext):\n    'Does.'", tools="[t, t]"))

    with pytest.raises(AgentBroken, match="two tools of the name t"):
        discover(library)


def test_two_agents_of_one_name_stop_the_start_and_both_files_are_named(write: Write) -> None:
    library = write(a=AN_AGENT.format(name="same"), b=AN_AGENT.format(name="same"))

    with pytest.raises(AgentDuplicate) as caught:
        discover(library)

    assert caught.value.where.endswith("b.py")
    assert "a.py" in str(caught.value)
    assert "'same'" in str(caught.value)


@pytest.mark.parametrize("value", ["{package}.shop", "{package}.shop:agent"], ids=["module", "object"])
def test_an_installed_package_brings_agents_by_an_entry_point(write: Write, value: str) -> None:
    package = write(shop=AN_AGENT.format(name="shop"))
    point = EntryPoint("shop", value.format(package=package), ENTRY_POINT_GROUP)

    assert "shop" in AgentFactory.discover(installed=[point]).agents


@pytest.mark.parametrize(
    ("value", "reason"),
    [("no_such_package", "ModuleNotFoundError"), ("{package}.shop:nothing", "has no 'nothing'"), ("os:sep", "neither")],
    ids=["no module", "no attribute", "no agent"],
)
def test_a_broken_entry_point_stops_the_start(write: Write, value: str, reason: str) -> None:
    package = write(shop=AN_AGENT.format(name="shop"))
    point = EntryPoint("shop", value.format(package=package), ENTRY_POINT_GROUP)

    with pytest.raises(AgentBroken, match=reason) as caught:
        AgentFactory.discover(installed=[point])

    assert caught.value.where.startswith("entry point shop = ")


def test_an_entry_point_of_a_name_that_is_taken_stops_the_start(write: Write) -> None:
    package = write(shop=AN_AGENT.format(name="echo"))
    point = EntryPoint("shop", f"{package}.shop", ENTRY_POINT_GROUP)

    with pytest.raises(AgentDuplicate, match="echo"):
        AgentFactory.discover(installed=[point])


@pytest.mark.parametrize(
    "module", ["contract", "turns", "work", "factory", "runner", "provider", "library.agenda", "tools.calling"]
)
def test_no_model_library_is_imported_before_it_is_needed(module: str) -> None:
    code = (
        f"import sys, app.agents.{module}\n"
        "from app.agents.factory import AgentFactory\n"
        "AgentFactory.discover()\n"
        "print([name for name in ('pydantic_ai', 'openai', 'xllamacpp', 'httpx2') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_a_desk_that_is_only_looked_at_imports_no_model_library() -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from app.agents.factory import AgentFactory\n"
        "from app.agents.llm.local_model import LocalModel\n"
        "from app.agents.llm.models import Models\n"
        "from app.agents.runner import AgentRunner\n"
        "models = Models('scripted', LocalModel(Path('nowhere')))\n"
        "runner = AgentRunner(AgentFactory.discover().agents, models=models, front_door=None)\n"
        "asyncio.run(runner.check_health())\n"
        "print(*[card.name for card in runner.cards()], runner.card('agenda').tools[0])\n"
        "print([name for name in ('pydantic_ai', 'openai', 'xllamacpp') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines() == ["agenda assistant coordinator echo list_calendars", "[]"]
