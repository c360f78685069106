"""Hold docs/originals.md to its own rules: every row whole, every test it names real, every "not" with a reason."""

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEDGER = ROOT / "docs" / "originals.md"
SYSTEMS = ("S1", "S2", "S3", "S4", "S5")
THEMES = frozenset({"edge", "runs", "agents", "tasks", "doors"})

_HEADER = ["id", "feature there", "here", "shown by"]
_RULE = re.compile(r"[\s|:-]+")
_BAR = re.compile(r"(?<!\\)\|")
_TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)(?:::(?P<name>test_\w+))?`")


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    system: str
    cells: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.cells[0]


def rows_of(text: str) -> Iterator[Row]:
    """Read every table row below a heading that starts with a system's name; headers and rules are skipped."""
    system = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("## "):
            system = line.split()[1] if line.split()[1] in SYSTEMS else ""
        if not system or not line.startswith("|") or _RULE.fullmatch(line):
            continue
        cells = [cell.strip() for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))]
        if cells != _HEADER:
            yield Row(number, system, tuple(cells))


def problems_of(text: str, root: Path) -> list[str]:
    rows = list(rows_of(text))
    absent = [f"{system}: no rows" for system in SYSTEMS if all(row.system != system for row in rows)]
    seen = Counter(row.id for row in rows)
    twice = [f"{id_}: the id is used {count} times" for id_, count in seen.items() if count > 1]
    return absent + twice + [f"line {row.line}, {row.id}: {what}" for row in rows for what in _faults(row, root)]


def _faults(row: Row, root: Path) -> Iterator[str]:
    if len(row.cells) != len(_HEADER) or not all(row.cells):
        yield f"needs {len(_HEADER)} filled cells, has {sum(map(bool, row.cells))} of {len(row.cells)}"
        return
    if not re.fullmatch(rf"{row.system}-\d{{2,3}}", row.id):
        yield f"is no id of {row.system}"
    _, feature, _, shown = row.cells
    if shown.startswith("not:"):
        yield from _empty_reason(shown.removeprefix("not:"))
    elif shown.startswith("planned:"):
        yield from _bad_plan(row.system, feature, shown.removeprefix("planned:").strip())
    else:
        yield from _missing_tests(shown, root)


def _empty_reason(reason: str) -> Iterator[str]:
    if len(reason.split()) < 3 or not reason.endswith("."):
        yield "`not:` needs a sentence, with a full stop"


def _bad_plan(system: str, feature: str, theme: str) -> Iterator[str]:
    if theme not in THEMES:
        yield f"unknown theme {theme!r}; one of {sorted(THEMES)}"
    if system == "S1" and not feature.startswith("Roadmap:"):
        yield "only S1's own roadmap may be planned; everything else of S1 exists"


def _missing_tests(shown: str, root: Path) -> Iterator[str]:
    named = list(_TEST.finditer(shown))
    if not named or _TEST.sub("", shown).strip(", "):
        yield f"shown by tests, `planned: THEME` or `not: SENTENCE`, not by {shown!r}"
    for test in named:
        path = root / test["path"]
        if not path.is_file():
            yield f"{test['path']} does not exist"
        elif test["name"] and test["name"] not in _functions_in(path):
            yield f"{test['path']} has no {test['name']}"


@functools.cache
def _functions_in(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_ledger_is_whole_and_names_only_tests_that_exist() -> None:
    problems = problems_of(LEDGER.read_text("utf-8"), ROOT)

    assert not problems, "\n".join(problems)


def test_rows_are_numbered_without_gaps_in_each_system() -> None:
    rows = list(rows_of(LEDGER.read_text("utf-8")))

    for system in SYSTEMS:
        numbers = [int(row.id.rpartition("-")[2]) for row in rows if row.system == system]
        assert numbers == list(range(1, len(numbers) + 1)), system


GOOD = "| S1-01 | ping | `GET /api/health/ping` | `tests/test_x.py::test_ping` |"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        pytest.param("| S1-02 | ping |  | not: it has no use here. |", "filled cells", id="an empty cell"),
        pytest.param("| S1-02 | ping | not: it has no use here. |", "filled cells", id="a missing cell"),
        pytest.param(GOOD, "used 2 times", id="a duplicate id"),
        pytest.param("| S2-02 | ping | gone | not: it has no use here. |", "no id of S1", id="another system's id"),
        pytest.param("| S1-02 | ping | gone | not: |", "needs a sentence", id="an empty reason"),
        pytest.param("| S1-02 | Roadmap: ping | later | planned: someday |", "unknown theme", id="an unknown theme"),
        pytest.param("| S1-02 | ping | later | planned: edge |", "only S1's own roadmap", id="S1 planned"),
        pytest.param("| S1-02 | ping | here | `tests/test_y.py::test_ping` |", "does not exist", id="no such file"),
        pytest.param("| S1-02 | ping | here | `tests/test_x.py::test_pong` |", "has no test_pong", id="no such test"),
        pytest.param("| S1-02 | ping | here | by hand |", "shown by tests", id="no test at all"),
    ],
)
def test_a_faulty_row_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    root = _root_with_one_test(tmp_path)

    problems = problems_of(_ledger_with(row), root)

    assert len(problems) == 1
    assert complaint in problems[0]


@pytest.mark.parametrize(
    "row",
    [
        r"| S1-02 | `a\|b` | `GET /a\|b` | `tests/test_x.py::test_ping`, `tests/test_x.py` |",
        "| S1-02 | Roadmap: limits | `rate_limit` | planned: edge |",
        "| S1-02 | ping | gone | not: it has no use here. |",
    ],
    ids=["tests and an escaped bar", "planned roadmap", "a reason"],
)
def test_a_good_row_passes(tmp_path: Path, row: str) -> None:
    root = _root_with_one_test(tmp_path)

    problems = problems_of(_ledger_with(row), root)

    assert problems == []


def test_a_system_without_rows_is_named(tmp_path: Path) -> None:
    text = _ledger_with("").replace("## S4 ", "## Nothing ")

    problems = problems_of(text, _root_with_one_test(tmp_path))

    assert problems == ["S4: no rows"]


def _root_with_one_test(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("async def test_ping() -> None: ...\n", "utf-8")
    return tmp_path


def _ledger_with(row: str) -> str:
    head = "| id | feature there | here | shown by |\n|---|---|---|---|\n"
    others = "".join(
        f"## {system} Other\n\n{head}{GOOD.replace('S1-01', f'{system}-01')}\n" for system in SYSTEMS if system != "S1"
    )
    return f"# Ledger\n\n## S1 First\n\n{head}{GOOD}\n{row}\n{others}"
