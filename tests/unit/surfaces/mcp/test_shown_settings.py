"""Of a setting that nobody called harmless it is told only whether it is set."""

from pathlib import Path

import pytest

from app.settings import Settings
from app.surfaces.mcp.shown_settings import SHOWN_TEXTS, address_of, shown


def test_a_text_that_is_not_listed_is_hidden() -> None:
    found = shown({"new_setting": "word", "other": "", "many": ("a",), "mode": "DEV", "on": True, "at": Path("/x")}, {})

    assert dict(found) == {
        "new_setting": "(set)", "other": "(not set)", "many": "(set)", "mode": "DEV", "on": True, "at": "/x",
        "upstreams": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://ann:word@host:1/path?key=word#word", "http://host:1/path"),
        ("https://host", "https://host"),
        ("http://host:port/", "(set)"),
        ("http://[", "(set)"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, address: str) -> None:
    assert address_of(url) == address


def test_what_is_shown_is_a_setting_and_none_that_hides_itself() -> None:
    fields = Settings.model_fields

    assert fields.keys() >= SHOWN_TEXTS
    assert not [name for name in SHOWN_TEXTS if not fields[name].repr]
