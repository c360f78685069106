"""Points in time: UTC everywhere inside, microseconds since 1970 in the database, so that they compare as numbers."""

from datetime import UTC, date, datetime, timedelta

from portico_fleet.refused import FieldRefused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_A_MICROSECOND = timedelta(microseconds=1)


def in_utc(moment: datetime) -> datetime:
    """Convert; a moment without an offset is taken as UTC.

    Errors: FieldRefused, within hours of the ends of the calendar, where the conversion would leave it.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as fact:
        raise FieldRefused("date", "outside the years 1 to 9999 in UTC") from fact


def to_micros(moment: datetime) -> int:
    return (in_utc(moment) - _EPOCH) // _A_MICROSECOND


def from_micros(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def read_since(text: str) -> datetime:
    """Read a date (its first moment) or a date and time.

    Errors: FieldRefused.
    """
    return in_utc(_read("start_date", text))


def read_until(text: str) -> datetime:
    """Read the end of a range: a date counts as a whole, so it ends with the first moment of the next day.

    Errors: FieldRefused.
    """
    moment = in_utc(_read("end_date", text))
    if not _is_date(text):
        return moment
    try:
        return moment + timedelta(days=1)
    except OverflowError as fact:
        raise FieldRefused("end_date", "too far in the future") from fact


def _read(field: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as fact:
        raise FieldRefused(field, "a date or an ISO 8601 date and time (write + as %2B)") from fact


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
