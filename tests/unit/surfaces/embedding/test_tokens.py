"""Tokens for callers whom somebody else has recognised."""

import time

import jwt
import pytest

from app.surfaces.embedding.tokens import LIFE_S, REMEMBERED, Caller, OwnTokens


def test_a_token_says_who_calls_and_holds_for_minutes() -> None:
    tokens = OwnTokens()

    claims = jwt.decode(tokens.token_for(Caller("ann", ("user", "admin"))), tokens.public_pem, algorithms=["RS256"])

    assert (claims["sub"], claims["role"]) == ("ann", ["user", "admin"])
    assert claims["exp"] - claims["iat"] == LIFE_S


def test_it_is_signed_once_and_again_when_half_of_its_life_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, ann = OwnTokens(), Caller("ann")
    first = tokens.token_for(ann)
    now_s = time.time()

    monkeypatch.setattr(time, "time", lambda: now_s + LIFE_S / 2 - 2)
    still = tokens.token_for(ann)
    monkeypatch.setattr(time, "time", lambda: now_s + LIFE_S / 2 + 2)
    later = tokens.token_for(ann)

    assert first == still != later
    assert tokens.token_for(Caller("ann", ("admin",))) != later


def test_not_everybody_who_ever_called_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt, "encode", lambda claims, *_, **__: claims["sub"])
    tokens = OwnTokens()

    for number in range(REMEMBERED + 10):
        tokens.token_for(Caller(f"person-{number}"))

    assert len(tokens._kept) == REMEMBERED


def test_nothing_that_prints_it_shows_the_key() -> None:
    assert "PRIVATE" not in repr(OwnTokens())
    assert "key" not in repr(OwnTokens())
