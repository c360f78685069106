""".env.example holds every setting with its default, and nothing that is not read."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic.fields import FieldInfo

from app.agents.llm.providers import PROVIDERS, base_url_variable
from app.settings import FROM_THE_FILE, Settings, load_dotenv

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
LINES = EXAMPLE.read_text("utf-8").splitlines()
ASSIGNED = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", "\n".join(LINES), flags=re.MULTILINE))
ADDRESSES = {base_url_variable(prefix) for prefix in PROVIDERS}
OF_PROVIDERS = {variable for needs in PROVIDERS.values() for variable in needs.variables} | ADDRESSES
OF_OUR_EXTRAS = {
    variable for needs in PROVIDERS.values() if needs.is_ours for variable in needs.variables[:1] if needs.extra
}
SETTINGS = {name.upper(): field for name, field in Settings.model_fields.items() if name not in FROM_THE_FILE}


def shown(field: FieldInfo) -> str:
    """Write a default as a line of the file; what is worked out at start is shown empty."""
    default = field.default if field.default_factory is None else None
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Iterable) and not isinstance(default, str):
        return ",".join(str(one) for one in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_it_names_every_setting_and_no_other() -> None:
    documented = ASSIGNED.keys() - OF_PROVIDERS

    assert documented == SETTINGS.keys()


def test_it_shows_the_defaults() -> None:
    expected = {name: shown(field) for name, field in SETTINGS.items()}

    documented = {name: value for name, value in ASSIGNED.items() if name in SETTINGS}

    assert documented == expected


def test_it_names_the_keys_of_the_providers_that_an_extra_brings() -> None:
    documented = ASSIGNED.keys() & OF_PROVIDERS

    assert documented >= OF_OUR_EXTRAS | {"OPENAI_API_KEY", "OPENAI_BASE_URL"}
    assert {name: ASSIGNED[name] for name in documented} == dict.fromkeys(documented, "")


def test_each_name_stands_once_and_below_a_word_of_explanation() -> None:
    names = [line for line in LINES if re.match(r"#?[A-Z][A-Z0-9_]*=", line)]

    sections = [line for line in LINES if line.startswith("# ----")]

    assert len(names) == len(ASSIGNED)
    assert len(sections) >= 5


def test_a_copy_changes_nothing_until_it_is_edited(tmp_path: Path) -> None:
    copy = tmp_path / ".env"
    copy.write_bytes(EXAMPLE.read_bytes())

    before = dict(os.environ)

    load_dotenv(copy)

    assert os.environ == before
