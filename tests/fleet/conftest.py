from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.fleet.programs import Program, as_user, running


@pytest.fixture(scope="module")
def agenda_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("agenda", tmp_path_factory.mktemp("agenda")) as program:
        yield program


@pytest.fixture
def agenda(agenda_program: Program) -> Iterator[httpx.Client]:
    """Ask as somebody new, so that no test sees what another one left."""
    agenda_program.client.headers.update(as_user(uuid4().hex))
    yield agenda_program.client
    for name in as_user(""):
        del agenda_program.client.headers[name]
