"""Which model of a chain is asked first, and what is said of the others."""

from app.agents.llm.standing import REST_LIMIT_S, REST_S, Standing


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_chain_that_is_well_is_asked_in_its_order_and_needs_no_word() -> None:
    standing = Standing(["a", "b"])

    assert (standing.in_order(), standing.note, standing.trouble) == (["a", "b"], "", None)


def test_one_that_failed_rests_at_the_end_and_is_told_of() -> None:
    standing = Standing(["a", "b", "c"])

    standing.failed("a", "gone")

    assert standing.in_order() == ["b", "c", "a"]
    assert standing.note == "answered by b; a: gone"
    assert standing.trouble is None


def test_a_rest_ends() -> None:
    clock = Clock()
    standing = Standing(["a", "b"], clock)
    standing.failed("a", "gone")

    clock.now_s += REST_S

    assert (standing.in_order(), standing.note) == (["a", "b"], "")


def test_a_provider_says_how_long_within_bounds() -> None:
    clock = Clock()
    standing = Standing(["a", "b"], clock)
    standing.failed("a", "busy", retry_after_s=1e9)

    clock.now_s += REST_LIMIT_S - 1
    still = standing.in_order()
    clock.now_s += 1

    assert (still, standing.in_order()) == (["b", "a"], ["a", "b"])


def test_one_that_answers_rests_no_more() -> None:
    standing = Standing(["a", "b"])
    standing.failed("a", "gone")

    standing.answered("a")

    assert standing.in_order() == ["a", "b"]


def test_where_all_rest_that_is_the_trouble_and_they_are_asked_all_the_same() -> None:
    standing = Standing(["a", "b"])
    standing.failed("b", "busy")
    standing.failed("a", "gone")

    assert standing.trouble == "a: gone; b: busy"
    assert standing.in_order() == ["a", "b"]
