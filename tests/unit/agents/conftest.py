"""What the tests of the desk share: a journal, and a model server on loopback."""

from collections.abc import Iterator

import pytest
from pydantic_ai.models import override_allow_model_requests

from tests.fakes.journal import FakeJournal
from tests.model_server import ModelServer, running_model_server


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture(autouse=True)
def _next_attempt_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agents.llm.model_step.FIRST_WAIT_S", 0.001)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as running:
        yield running
