"""What each exception becomes; that it becomes a document is tested over HTTP."""

import pytest
from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)

from app.agents.contract import AgentFailed
from app.kernel.errors import Fault, FieldError
from app.surfaces.api.refusals import fault_of


def flawed(*items: dict[str, object]) -> ValidationException:
    return ValidationException("nothing a client should read", extra=list(items))


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (NotFoundException(), "route-not-found"),
        (MethodNotAllowedException(headers={"allow": "GET"}), "method-not-allowed"),
        (flawed(), "validation-failed"),
        (SerializationException("an answer of ours cannot be written: swordfish"), "internal"),
        (ClientException("wrong"), "malformed"),
        (HTTPException(status_code=413), "body-too-large"),
        (HTTPException(status_code=415), "malformed"),
        (InternalServerException("swordfish"), "internal"),
        (HTTPException(status_code=503), "internal"),
        (RuntimeError("swordfish"), "internal"),
        (KeyError("swordfish"), "internal"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_exception_becomes_a_fault(error: Exception, type_: str) -> None:
    fault = fault_of(error)

    assert fault.type == type_
    assert "swordfish" not in fault.detail


def test_a_fault_stays_what_it_is() -> None:
    fault = AgentFailed("No.")

    assert fault_of(fault) is fault


@pytest.mark.parametrize("error", [RecursionError("too deep"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")])
def test_a_decoders_failure_outside_a_decoder_is_a_bug(error: Exception) -> None:
    assert fault_of(error).type == "internal"


@pytest.mark.parametrize(
    ("item", "field", "message"),
    [
        ({"key": "title", "message": "Expected `str`, got `int`"}, "title", "Expected `str`, got `int`"),
        ({"key": "data", "message": "Expected `object`, got `array`"}, "", "Expected `object`, got `array`"),
        ({"key": "data", "message": "'data'"}, "", "is missing"),
        ({"key": "limit", "message": "'limit'"}, "limit", "is missing"),
        ({"key": "data", "message": "Object contains unknown field `a`"}, "a", "is not a known field"),
        ({"key": "data", "message": "Object contains unknown field `a`b\n`"}, "a`b\n", "is not a known field"),
        ({"key": "inner", "message": "Object contains unknown field `a`"}, "inner.a", "is not a known field"),
        ({"key": "data", "message": "Object missing required field `content`"}, "content", "is missing"),
        ({"message": "is odd"}, "", "is odd"),
        ({"key": "title"}, "title", "is not valid"),
    ],
)
def test_the_field_a_message_is_about_is_named(item: dict[str, object], field: str, message: str) -> None:
    assert list(fault_of(flawed(item)).errors) == [FieldError(field, message)]


def test_a_parameter_that_is_missing_is_named() -> None:
    fault = fault_of(ValidationException("Missing required query parameter 'q' for path /api/v1/chats/search"))

    assert getattr(fault, "errors", None) == (FieldError("q", "is missing"),)


@pytest.mark.parametrize("extra", [None, {"key": "a"}, "text"])
def test_an_error_without_a_list_is_about_the_whole(extra: object) -> None:
    error = ValidationException()
    error.extra = extra  # type: ignore[assignment] # whatever another version may put there

    assert list(fault_of(error).errors) == [FieldError("", "cannot be read")]


def test_a_wrong_method_names_the_right_ones() -> None:
    fault: Fault = fault_of(MethodNotAllowedException(headers={"allow": "GET, POST"}))

    assert (fault.detail, fault.headers) == ("This path takes GET, POST.", {"allow": "GET, POST"})
