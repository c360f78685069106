"""`docs/errors.md` is where clients look up a `type`: each has its row, and each row a test that provokes it."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import app.embedding  # noqa: F401 - every slice, and with it every fault, is loaded
from app.infra.wire.problems import status_of
from app.kernel.errors import Fault

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "errors.md"
ROW = re.compile(r"\| `(?P<type>[a-z-]+)` \| (?P<status>\d{3}) \| (?P<meaning>.+) \| (?P<mend>.+) \| `(?P<test>.+)` \|")
LEAST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    type: str
    status: int
    meaning: str
    mend: str
    test: str


def rows() -> list[Row]:
    found = [ROW.fullmatch(line) for line in PAGE.read_text("utf-8").splitlines()]
    return [Row(one["type"], int(one["status"]), one["meaning"], one["mend"], one["test"]) for one in found if one]


def faults(of: type[Fault] = Fault) -> Iterator[type[Fault]]:
    for fault in of.__subclasses__():
        if fault.__module__.startswith("app."):
            yield fault
        yield from faults(fault)


def statuses() -> Mapping[str, int]:
    return {fault.type: status_of(fault) for fault in faults()}


def test_every_type_has_its_row_and_no_other_has() -> None:
    listed = [row.type for row in rows()]

    assert sorted(listed) == sorted(statuses())


def test_a_row_tells_the_status_clients_get() -> None:
    assert {row.type: row.status for row in rows()} == statuses()


def test_a_type_has_one_status_whichever_fault_it_stands_for() -> None:
    found = {(fault.type, status_of(fault)) for fault in faults()}

    assert len(found) == len({type_ for type_, _ in found})


def test_every_line_of_a_table_is_read() -> None:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]

    assert len(lines) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.type)
def test_a_row_says_what_it_means_what_to_do_and_what_provokes_it(row: Row) -> None:
    path, _, name = row.test.partition("::")

    assert len(row.meaning.split()) >= LEAST_WORDS
    assert len(row.mend.split()) >= LEAST_WORDS
    assert name in _tests_of(ROOT / path)


def _tests_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"), filename=str(file))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
