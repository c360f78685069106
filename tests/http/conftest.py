"""One gateway for a file of tests: the shipped chain, real sockets, the scripted model, a real database."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.cable import Cable
from tests.http.moody import Moody


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with running_gateway(some_settings(folder, dsn=migrated_dsn)) as url:
        yield url


@pytest.fixture
def client(gateway_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def caller(gateway_url: str) -> Iterator[httpx.Client]:
    """One client for a whole table of cases: to make one costs more than most requests (it reads every CA there is)."""
    with httpx.Client(base_url=gateway_url, timeout=30) as caller:
        yield caller


@pytest.fixture
def cable(migrated_dsn: str) -> Iterator[Cable]:
    folder = Path(tempfile.mkdtemp(prefix="cable-"))  # pytest's own folders are too long for a socket's name
    cable = Cable(migrated_dsn, folder)
    cable.mend()
    yield cable
    cable.cut()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def agent() -> Moody:
    """For gateways that are told to have it (`agent.provider()`)."""
    return Moody()


@pytest.fixture
def thinking(agent: Moody) -> Iterator[threading.Event]:
    """Have the agent think about "think" until the test sets the event."""
    agent.is_asked.clear()
    agent.may_answer.clear()
    yield agent.may_answer
    agent.may_answer.set()
