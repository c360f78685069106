"""The style guide as checks over the sources; each says why the rule exists. Import directions are import-linter's."""

import ast
import builtins
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "app"
FOLDERS = (".ci", ".github", "app", "bench", "docs", "examples", "tests")
UNTRACKED = re.compile(r"^(\.git$|\.env(?!\.example)|\.coverage|uv\.lock)")

NAMELESS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
FILE_LIMIT_LINES = 400
FUNCTION_LIMIT_LINES = 60
MAIN_LIMIT_LINES = 150
CATCHES_EVERYTHING = {
    "edge/asgi.py": "the edge's last step: a client gets an answer whatever broke",
    "edge/protocol.py": "the same in the other mount",
    "agents/tools/threads.py": "a thread reports whatever its function raises to whoever waits for it",
    "agents/tools/calling.py": "a tool is other people's code, and its failure is told to the model",
    "agents/tools/toolbox.py": "a source of tools is other people's code; it costs its tools and not the turn",
    "agents/runner.py": "so is an agent of code; its failure is the turn's",
    "agents/work.py": "what the journal and the ledger raise is told from what an agent raises, and passed on as it is",
    "agents/llm/model_step.py": "however a request ends, what it took is settled; the error goes on its way",
    "agents/factory.py": "so is the file of an agent; what it raised is the cause of AgentBroken",
    "agents/mcp_client/connection.py": "what a server and its library come to ends a connection, which is tried again",
    "features/notifications/use_cases/deliver_due.py": "a sender's bug is a failure, and must not end the others",
    "infra/durable/handling.py": "a handler is other people's code, and what it raised is told of its run",
    "infra/durable/conclusions.py": "so is what settles a run; the run is tried again later",
    "infra/durable/writes.py": "a write's failure belongs to whoever asked for it, not to the group it runs in",
    "infra/observability/**/*.py": "a health check reports what it met",
}
CONTRACTS = {
    "layers",
    "rings",
    "feature-order",
    "agents",
    "infra-order",
    "pure-core",
    "edge-alone",
    "settings-protected",
    "sql-stays-in-adapters",
    "acyclic",
}


@cache
def _modules() -> Sequence[Path]:
    return sorted(APP.rglob("*.py"))


@cache
def _tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text("utf-8"), filename=str(module))


def _lines(module: Path) -> int:
    return len(module.read_text("utf-8").splitlines())


def _inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _nodes() -> Sequence[tuple[Path, ast.AST]]:
    """Every node of app/, with its file."""
    return [(module, node) for module in _modules() for node in ast.walk(_tree(module))]


@cache
def _texts() -> Sequence[tuple[Path, str]]:
    """Every text file that belongs to the project."""
    return list(_read_texts())


def _read_texts() -> Iterator[tuple[Path, str]]:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts]
    top = [file for file in ROOT.iterdir() if not UNTRACKED.match(file.name)]
    for file in (*files, *top):
        if file.is_file():
            try:
                yield file, file.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def _occurrences(pattern: str) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{_inside(file)}:{number}: {line.strip()}"
        for file, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if found.search(line)
    ]


def _names(expression: ast.expr | None) -> Iterator[str]:
    """The last words of the names in `A`, `module.A` or `(A, B)`; a bare `except:` has none."""
    for node in ast.walk(expression) if expression else ():
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _catches_everything(node: ast.AST) -> bool:
    """Tell a net for everything from one for something; a handler that ends in a plain `raise` hides nothing."""
    if isinstance(node, ast.Call):
        return "suppress" in _names(node.func) and any("Exception" in _names(argument) for argument in node.args)
    if not isinstance(node, ast.ExceptHandler):
        return False
    caught = set(_names(node.type))
    passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
    return "Exception" in caught or ((not caught or "BaseException" in caught) and not passes_on)


@cache
def _wide_nets() -> list[tuple[Path, str]]:
    return [
        (module, f"{_inside(module)}:{node.lineno}")
        for module, node in _nodes()
        if isinstance(node, ast.ExceptHandler | ast.Call) and _catches_everything(node)
    ]


@cache
def _exceptions() -> set[str]:
    """The names of our exception classes: whatever descends from a built-in one, however far."""
    bases = {
        node.name: {name for base in node.bases for name in _names(base)}
        for _, node in _nodes()
        if isinstance(node, ast.ClassDef)
    }
    raised = {name for name in dir(builtins) if _is_exception(getattr(builtins, name))}
    known: set[str] = set()
    while grown := {name for name, parents in bases.items() if name not in known and parents & (raised | known)}:
        known |= grown
    return known


def _is_exception(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def test_packages_are_folders_and_hold_no_code() -> None:
    """An import of one module must not load its neighbours, and the reader must find a name where it is defined."""
    full = [_inside(module) for module in _modules() if module.name == "__init__.py" and module.read_bytes()]

    assert full == []


def test_every_folder_of_the_package_is_a_package() -> None:
    """A folder without `__init__.py` is left out by import-linter without a word."""
    bare = {_inside(module.parent) for module in _modules() if not (module.parent / "__init__.py").exists()}

    assert bare - {"app/migrations/versions"} == set()


def test_no_module_is_named_after_nothing() -> None:
    """A drawer named "utils" takes everything and says nothing about any of it."""
    parts = {part for module in _modules() for part in module.relative_to(APP).with_suffix("").parts}

    assert [part for part in parts if NAMELESS & set(part.lower().split("_"))] == []


def test_no_file_is_too_long_to_hold_one_idea() -> None:
    """Four hundred lines are two ideas that have not been told apart yet."""
    long = [f"{_inside(module)}: {_lines(module)}" for module in _modules() if _lines(module) > FILE_LIMIT_LINES]

    assert long == []


def test_no_function_is_too_long_to_read_at_once() -> None:
    """Sixty lines are more than a screen; what has no room there has a name of its own."""
    long = [
        f"{_inside(module)}:{node.lineno} {node.name}"
        for module, node in _nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LIMIT_LINES
    ]

    assert long == []


def test_the_composition_root_only_composes() -> None:
    """What is wired to what must be seen in one read; logic that moves in here has no test of its own."""
    assert _lines(APP / "main.py") <= MAIN_LIMIT_LINES


def test_only_named_places_catch_everything() -> None:
    """A wide net hides the bug beside the failure it was meant for."""
    allowed = {file for pattern in CATCHES_EVERYTHING for file in APP.glob(pattern)}

    assert [place for module, place in _wide_nets() if module not in allowed] == []


@pytest.mark.parametrize("pattern", CATCHES_EVERYTHING)
def test_a_permission_to_catch_everything_is_used(pattern: str) -> None:
    """A permission that nobody needs any more is taken by the next one who should not have it."""
    files = set(APP.glob(pattern))

    assert any(module in files for module, _ in _wide_nets())


@pytest.mark.parametrize(
    ("handler", "is_wide"),
    [
        ("except Exception: pass", True),
        ("except (OSError, Exception) as error: raise Lost from error", True),
        ("except builtins.BaseException: pass", True),
        ("except: pass", True),
        ("except BaseException: raise", False),
        ("except (OSError, ValueError): pass", False),
    ],
)
def test_a_wide_net_is_told_from_a_narrow_one(handler: str, is_wide: bool) -> None:  # noqa: FBT001 a table's column
    """The two checks above see what they are meant to see."""
    (attempt,) = ast.parse(f"try: work()\n{handler}").body

    assert isinstance(attempt, ast.Try)
    assert _catches_everything(attempt.handlers[0]) is is_wide


def test_no_import_hides_behind_type_checking() -> None:
    """Litestar and dishka resolve hints at run time, and a cycle that is hidden from it is still a cycle."""
    hidden = [
        f"{_inside(module)}:{node.lineno}"
        for module, node in _nodes()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in _names(node.test)
    ]

    assert hidden == []


def test_errors_name_the_fact() -> None:
    """`TokenExpired` is read in logs and problem documents; the word "error" adds nothing to it there."""
    exceptions = _exceptions()

    assert exceptions
    assert [name for name in exceptions if re.search(r"(Exception|Error)$", name)] == []


def test_unit_tests_mirror_the_files_they_test() -> None:
    """Whoever changes a file finds its tests without a search, and tests of a deleted file do not linger.

    `test_of_THEME.py` stands for several small files of the folder it mirrors.
    """
    unit = ROOT / "tests" / "unit"
    tested = [file.relative_to(unit).with_name(file.name.removeprefix("test_")) for file in unit.rglob("test_*.py")]

    lost = [path.as_posix() for path in tested if not _is_mirrored(path)]

    assert lost == []


def _is_mirrored(path: Path) -> bool:
    if path.name.startswith("of_"):
        return (APP / path.parent).is_dir()
    return (APP / path).exists() or (APP / path.with_suffix("")).is_dir()


def test_what_is_left_to_do_has_an_issue() -> None:
    """A note in the code is read by nobody who plans; an issue is."""
    assert _occurrences(r"\bTO[D]O\b(?!\W{0,2}#\d)") == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w/])/?shared/[\w*{]",
        r"\bpypi\.org\b",
        r"\bpythonhosted\.org\b",
        r"\bregistry\.npmjs\b",
        r"(?<!\w)/work/\w",
    ],
    ids=["design folder", "index", "files of the index", "other index", "machine path"],
)
def test_nothing_points_outside_the_project(pattern: str) -> None:
    """The project must build from any mirror and read the same on any machine; only the lock file names an index."""
    assert _occurrences(pattern) == []


def test_the_import_contracts_are_declared() -> None:
    """A contract that someone deletes is kept by everybody; `make check` runs the ones that are here."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}

    assert set(contracts) >= CONTRACTS
    assert all(contract["exhaustive"] for contract in contracts.values() if contract["type"] == "layers")
