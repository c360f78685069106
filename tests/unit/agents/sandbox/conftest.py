"""A bench for programs in each backend of this machine."""

from pathlib import Path

import pytest

from tests.unit.agents.sandbox.rig import OF_THE_KERNEL, Bench, usable


@pytest.fixture(params=OF_THE_KERNEL)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(await usable(request.param), tmp_path)


@pytest.fixture
async def monty(tmp_path: Path) -> Bench:
    return Bench(await usable("monty"), tmp_path)
