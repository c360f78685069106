"""Who keeps hearing the same digest may go on with what was made of it; who hears another, or nothing, asks again."""

from dataclasses import dataclass

from app.infra.db.hints import LOOK
from app.infra.openapi.news import TRUST_S, FleetNews


@dataclass
class Time:
    now_s: float = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


def test_nothing_is_known_before_somebody_says() -> None:
    news = FleetNews(Time().monotonic_s)
    before = news.edition
    news.hear([LOOK])  # what hints say when they are heard again

    assert (before, news.edition) == (None, None)


def test_the_same_digest_is_the_same_edition_and_another_is_another() -> None:
    news = FleetNews(Time().monotonic_s)
    news.hear(["a"])
    first = news.edition
    news.hear(["a"])

    assert first is not None
    assert news.edition == first

    news.hear(["b"])
    second = news.edition
    news.hear(["a"])
    assert len({first, second, news.edition}) == 3


def test_a_change_that_was_undone_within_one_hint_is_a_change() -> None:
    news = FleetNews(Time().monotonic_s)
    news.hear(["a"])
    first = news.edition
    news.hear(["b", "a"])

    assert news.edition != first


def test_silence_is_trusted_for_a_few_seconds_only() -> None:
    time = Time()
    news = FleetNews(time.monotonic_s)
    news.hear(["a"])

    trusted = []
    for seconds in (TRUST_S - 0.1, 0.1):
        time.now_s += seconds
        trusted.append(news.edition is not None)
    news.hear(["a"])

    assert [*trusted, news.edition is not None] == [True, False, True]
