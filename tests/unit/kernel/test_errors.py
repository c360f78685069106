import pytest

from app.kernel.errors import Conflict, Fault, FieldError, Kind, Malformed, ValidationFailed


class TeapotUpset(Conflict):
    type = "teapot-upset"
    title = "The teapot is upset"


def test_a_fact_has_the_kind_it_descends_from() -> None:
    assert TeapotUpset.kind is Kind.CONFLICT
    assert ValidationFailed.kind is Malformed.kind


def test_the_reason_is_the_type_as_one_word() -> None:
    assert TeapotUpset().reason == "teapot_upset"


def test_a_fault_reads_as_its_detail_or_else_its_title() -> None:
    assert str(TeapotUpset("It is empty.")) == "It is empty."
    assert str(TeapotUpset()) == "The teapot is upset"


def test_what_is_given_is_copied() -> None:
    errors, headers, evidence = [FieldError("a", "is missing")], {"retry-after": "1"}, {"cause": "x"}
    fault = Fault(errors=errors, headers=headers, evidence=evidence)

    errors.clear()
    headers.clear()
    evidence.clear()

    assert (fault.errors, fault.headers, fault.evidence) == (
        (FieldError("a", "is missing"),),
        {"retry-after": "1"},
        {"cause": "x"},
    )


def test_a_fault_is_raised_without_words() -> None:
    with pytest.raises(Conflict, match="The teapot is upset"):
        raise TeapotUpset
