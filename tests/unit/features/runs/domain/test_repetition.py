"""What a reader is shown of a request that is said again: it always comes to what was said last."""

from hypothesis import given
from hypothesis import strategies as st

from app.agents.turns import Fold, TurnEvent
from app.features.runs.domain.repetition import Telling


def delta(text: str, *, request: int = 1, type_: str = "text_delta") -> TurnEvent:
    return TurnEvent(type_, {"request": request, "text": text})


def retry(request: int = 1) -> TurnEvent:
    return TurnEvent("stream_retry", {"request": request, "reason": "begun again"})


def shown_of(telling: Telling, *events: TurnEvent) -> list[TurnEvent]:
    return [shown for event in events for shown in telling.tell(event)]


def told(*events: TurnEvent) -> Telling:
    """What another process has shown before this one took over."""
    telling = Telling()
    for event in events:
        telling.has_shown(event)
    return telling


def test_what_is_said_for_the_first_time_is_shown() -> None:
    telling = Telling()

    assert shown_of(telling, delta("Hel"), delta("lo")) == [delta("Hel"), delta("lo")]
    assert telling.text == "Hello"


def test_what_only_repeats_is_held_back_and_what_goes_beyond_is_shown() -> None:
    telling = told(delta("Hello, "), delta("wor"))

    shown = shown_of(telling, retry(), delta("Hel"), delta("lo, world"), delta("!"))

    assert shown == [delta("ld"), delta("!")]
    assert not telling.end_requests()
    assert telling.text == "Hello, world!"


def test_what_differs_makes_void_what_was_shown() -> None:
    telling = told(delta("Hello, wor"))

    shown = shown_of(telling, retry(), delta("Hello"), delta(" Ann"), delta("!"))

    assert shown == [retry(), delta("Hello"), delta(" Ann"), delta("!")]
    assert telling.text == "Hello Ann!"


def test_an_answer_that_is_shorter_this_time_is_shown_when_it_is_over() -> None:
    telling = told(delta("Hello, world"))

    assert shown_of(telling, retry(), delta("Hello")) == []
    assert list(telling.end_requests()) == [retry(), delta("Hello")]
    assert telling.text == "Hello"


def test_other_thoughts_make_void_what_was_thought_and_said() -> None:
    telling = told(delta("hm", type_="thinking_delta"), delta("Hello"))

    shown = shown_of(telling, retry(), delta("aha", type_="thinking_delta"), delta("Hello"))

    assert shown == [retry(), delta("aha", type_="thinking_delta"), delta("Hello")]


def test_thoughts_that_went_on_before_another_text_are_not_shown_twice() -> None:
    telling = told(delta("hm", type_="thinking_delta"), delta("Hello"))

    shown = shown_of(telling, retry(), delta("hm", type_="thinking_delta"), delta("Hello, you"))

    assert shown == [delta(", you")]


def test_a_retry_of_what_was_never_shown_says_nothing() -> None:
    assert shown_of(told(delta("one")), retry(2), delta("two", request=2)) == [delta("two", request=2)]


def test_a_request_may_be_said_a_third_time() -> None:
    telling = told(delta("abc"))

    shown = shown_of(telling, retry(), delta("abX"), retry(), delta("ab"), delta("XY"))

    assert shown == [retry(), delta("abX"), delta("Y")]
    assert telling.text == "abXY"


def test_what_is_no_delta_passes() -> None:
    tool = TurnEvent("tool_call_start", {"request": 1, "tool_call_id": "c", "tool": "add", "arguments": {}})
    again = TurnEvent("stream_retry", {"tool_call_id": "c", "reason": "begun again"})

    assert shown_of(told(delta("abc")), retry(), tool, again) == [tool, again]


PIECES = st.lists(st.text("ab", min_size=1, max_size=3), max_size=6)


@given(st.lists(PIECES, min_size=1, max_size=4))
def test_whatever_is_said_how_often_the_shown_deltas_come_to_the_last_of_it(attempts: list[list[str]]) -> None:
    telling, shown = Telling(), Fold()
    for number, pieces in enumerate(attempts):
        said = [*([retry()] if number else []), *map(delta, pieces)]
        for event in (*shown_of(telling, *said), *(telling.end_requests() if number == len(attempts) - 1 else ())):
            shown.add(event.type, event.data)

    assert shown.text == telling.text == "".join(attempts[-1])
