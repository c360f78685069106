import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import a_home
from tests.soak.stand import Origin, an_origin


@pytest.fixture(autouse=True)
def _is_linux() -> None:
    if sys.platform != "linux":
        pytest.skip("what a process holds is read from /proc")


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


@pytest.fixture
def origin() -> Iterator[Origin]:
    with an_origin() as origin:
        yield origin


@pytest.fixture
def origins() -> Iterator[tuple[Origin, Origin]]:
    with an_origin("one") as one, an_origin("two") as two:
        yield one, two
