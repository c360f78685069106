import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic_ai.models import Model

from app.agents.llm.prices import priced

ROOT = Path(__file__).parents[4]
WITHOUT_A_NETWORK = """
import socket, threading, types

def refuse(*_, **__):
    raise AssertionError("somebody looks prices up on the network")

socket.socket.connect = socket.getaddrinfo = refuse
from app.agents.llm.prices import priced
model = types.SimpleNamespace(model_name="gpt-4o", system="openai", base_url="https://api.openai.com/v1/")
print(priced(model, 1000, 1000).cost, threading.active_count())
"""


def a_model(name: str, system: str, base_url: str | None) -> Model:
    return cast("Model", SimpleNamespace(model_name=name, system=system, base_url=base_url))


@pytest.mark.parametrize(
    "model",
    [
        a_model("gpt-4o", "openai", "https://api.openai.com/v1/"),
        a_model("claude-sonnet-4-5", "anthropic", "https://api.anthropic.com"),
    ],
    ids=lambda model: model.model_name,
)
def test_a_model_that_is_known_has_a_price_that_grows_with_its_tokens(model: Model) -> None:
    small, large = priced(model, 1000, 1000).cost, priced(model, 2000, 2000).cost

    assert small is not None
    assert large is not None
    assert Decimal(0) < small < large < Decimal(1)


@pytest.mark.parametrize(
    "model",
    [a_model("scripted", "scripted", None), a_model("our-own", "openai", "http://127.0.0.1:8080/v1/")],
    ids=lambda model: model.model_name,
)
def test_a_model_nobody_knows_the_price_of_has_none(model: Model) -> None:
    usage = priced(model, 1000, 1000)

    assert usage.cost is None
    assert (usage.input_tokens, usage.output_tokens, usage.requests) == (1000, 1000, 1)


def test_prices_are_those_that_are_installed() -> None:
    asked = [sys.executable, "-c", WITHOUT_A_NETWORK]

    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    cost, threads = done.stdout.split()
    assert Decimal(cost) > 0
    assert threads == "1"
