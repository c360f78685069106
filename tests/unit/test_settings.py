import re
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.kernel.rates import HOW_TO_WRITE
from app.settings import ConfigurationInvalid, GatewayFile, Settings, find_config, load_dotenv, read_settings
from tests.builders import public_pem

type Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own settings, an empty folder, and the one setting there is no default for."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("GATEWAY_CONFIG", "THERE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JWT_PUBLIC_KEY", public_pem())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a `gateway.toml` and tell where it is."""

    def to_file(text: str) -> Path:
        file = tmp_path / "gateway.toml"
        file.write_text(text, "utf-8")
        return file

    return to_file


def problems_of(file: Path) -> list[str]:
    with pytest.raises(ConfigurationInvalid) as invalid:
        read_settings(file)
    return [str(problem).removeprefix(f"{file}: ") for problem in invalid.value.problems]


# ---- where a value comes from


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "10")

    settings = read_settings(write('[settings]\nlog_level = 30\nmode = "PROD"'))

    assert (settings.log_level, settings.mode, settings.postgres_schema) == (10, "PROD", "portico")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("MODE", "")

    assert read_settings(write('[settings]\nmode = "STAGE"')).mode == "STAGE"


def test_dotenv_fills_the_environment_and_never_overrides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Write
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "10")
    monkeypatch.setenv("UNKNOWN_NAME", "")
    monkeypatch.setenv("MODE", "")
    monkeypatch.delenv("UNKNOWN_NAME")
    monkeypatch.delenv("MODE")
    (tmp_path / ".env").write_text("LOG_LEVEL=40\nMODE=STAGE\nUNKNOWN_NAME=1\nNO_VALUE\n")

    load_dotenv()
    settings = read_settings(write(""))

    assert (settings.log_level, settings.mode) == (10, "STAGE")


def test_the_rows_come_from_the_file_alone(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("GATEWAY", '{"routes": [{"prefix": "/", "local": true, "access": "PUBLIC"}]}')

    assert read_settings(write("")).gateway == GatewayFile()


def test_the_config_is_what_was_asked_for_then_the_one_here_then_the_shipped_one(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    shipped = find_config()
    here = write("")
    monkeypatch.setenv("GATEWAY_CONFIG", "/elsewhere.toml")

    assert shipped.is_file()
    assert find_config(tmp_path / "x.toml") == tmp_path / "x.toml"
    assert find_config() == Path("/elsewhere.toml")
    monkeypatch.delenv("GATEWAY_CONFIG")
    assert find_config().resolve() == here


# ---- what values look like


def test_lists_are_comma_separated_in_the_environment_and_lists_in_the_file(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", " https://a.test, http://b.test:81 ,")

    settings = read_settings(write('[settings]\ntrusted_proxies = ["10.0.0.1/8", "::1"]'))

    assert settings.cors_origins == ("https://a.test", "http://b.test:81")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_a_pem_may_stand_in_one_line(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("JWT_PUBLIC_KEY", public_pem().replace("\n", "\\n"))

    assert read_settings(write("")).jwt_public_key == public_pem().strip()


@pytest.mark.parametrize(
    ("mode", "given", "docs", "json"),
    [("DEV", {}, True, False), ("PROD", {}, False, True), ("PROD", {"DOCS": "true", "LOG_JSON": "false"}, True, False)],
)
def test_prod_shuts_the_docs_and_logs_json_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, write: Write, mode: str, given: dict[str, str], *, docs: bool, json: bool
) -> None:
    for name, value in {"MODE": mode, **given}.items():
        monkeypatch.setenv(name, value)

    settings = read_settings(write(""))

    assert (settings.docs_are_served, settings.logs_are_json) == (docs, json)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MODE", "prod", "MODE"),
        ("LOG_LEVEL", "INFO", "LOG_LEVEL"),
        ("LOG_JSON", "maybe", "LOG_JSON"),
        ("POSTGRES_SCHEMA", 'x"; drop', "POSTGRES_SCHEMA"),
        ("DATABASE_POOL_SIZE", "0", "DATABASE_POOL_SIZE"),
        ("JWT_ALGORITHM", "HS256", "JWT_ALGORITHM"),
        ("JWT_ALGORITHM", "none", "JWT_ALGORITHM"),
        ("JWT_COOKIE_NAME", "a b", "JWT_COOKIE_NAME"),
        ("JWT_COOKIE_NAME", "a=b", "JWT_COOKIE_NAME"),
        ("JWT_LEEWAY_S", "-1", "JWT_LEEWAY_S"),
        ("JWT_LEEWAY_S", "301", "JWT_LEEWAY_S"),
        ("JWT_LEEWAY_S", "nan", "JWT_LEEWAY_S"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,here", "'here' does not appear to be"),
        ("CORS_ORIGINS", "*", "no origins: *"),
        ("CORS_ORIGINS", "https://a.test,null", "no origins: null"),
        ("CORS_ORIGINS", "https://a.test/", "no origins: https://a.test/"),
        ("CORS_ORIGINS", "https://*.a.test", "no origins"),
        ("CORS_ORIGINS", "a.test", "no origins"),
        ("CORS_ORIGINS", "https://A.test", "in lower case"),
        ("JWT_JWKS_URL", "http://auth.test/jwks", "set either JWT_PUBLIC_KEY"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, write: Write, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)

    problems = problems_of(write(""))

    assert len(problems) == 1
    assert problems[0].startswith(f"environment: {name}: ")
    assert words in problems[0]
    assert "see .env.example" in problems[0]


@pytest.mark.parametrize("url", ["", "auth.test/jwks", "file:///etc/passwd", "http://", "http:// x"])
def test_there_is_one_source_of_keys(monkeypatch: pytest.MonkeyPatch, write: Write, url: str) -> None:
    monkeypatch.delenv("JWT_PUBLIC_KEY")
    monkeypatch.setenv("JWT_JWKS_URL", url)

    assert [problem.split(": ")[1] for problem in problems_of(write(""))] == ["JWT_JWKS_URL"]


def test_keys_may_be_fetched(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.delenv("JWT_PUBLIC_KEY")
    monkeypatch.setenv("JWT_JWKS_URL", "https://auth.test/.well-known/jwks.json")

    assert read_settings(write("")).jwt_jwks_url == "https://auth.test/.well-known/jwks.json"


# ---- the file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[settings]\ncolour = 1", r"settings\.colour: is not a setting; remove it"),
        ("[settings]\nMODE = 'DEV'", r"settings\.MODE: is not a setting"),
        ("[settings]\ngateway = {}", r"settings\.gateway: is not a setting"),
        ("[settings]\nmode = 'prod'", r"settings\.mode: Input should be"),
        ("[settings]\ncors_origins = 5", r"settings\.cors_origins"),
        ("[settings]\ntrusted_proxies = ['x']", r"settings\.trusted_proxies"),
        ("settings = 5", "settings: must be a table"),
        ("colour = 1", "colour: is not a known key"),
        ("routes = 5", "routes: "),
        ("routes = [5]", "routes.0: "),
        ("[routes]\nx = 1", "routes: "),
        ("upstreams = 5", "upstreams: "),
        ("upstreams = {there = 5}", "upstreams.there: "),
        ("[upstreams.there]", "upstreams.there.url: "),
        ("[upstreams.there]\nurl = 'http://h'\nurls = ['http://i']", "upstreams.there: has url and urls; keep one"),
        ("[upstreams.there]\nurl = 5", "upstreams.there.url: "),
        ("[upstreams.there]\nurl = 'http://h'\nopenapi = true", "upstreams.there.openapi: "),
        ("[upstreams.there]\nurls = 'http://h'", "upstreams.there.urls: "),
        ("[upstreams.there]\nurls = []", "upstreams.there.urls: "),
        ("[upstreams.there]\nurls = ['http://h', 5]", "upstreams.there.urls.1: "),
        ("[[routes]]\nupstream = []", "routes.0.upstream: "),
        ("[[routes]]\npath = '/a'\naccess = 'ALL'", "routes.0.access: "),
        ("[[routes]]\npath = '/a'\ntimeout_s = nan", "routes.0.timeout_s: "),
        ("[[routes]]\npath = '/a'\nrewrite = [{match = '/a'}]", "routes.0.rewrite.0.to: "),
        ("[groups]\nGUESTS = ['guest']", "groups.GUESTS: is not a known key"),
        ("[[routes", "file: is not valid TOML"),
        ("[[routes]]\npath = '/a'\nwebsocket = 'perhaps'", "routes.0.websocket: "),
    ],
    ids=lambda value: value.replace("\n", " ") if "\\" not in value else "",
)
def test_a_flaw_of_the_file_is_told_with_its_key(write: Write, text: str, problem: str) -> None:
    problems = problems_of(write(text))

    assert len(problems) == 1
    assert re.match(problem, problems[0])


def test_a_file_that_is_not_there_is_told_with_the_way_to_name_another(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "none.toml") == [
        "file: cannot be read (No such file or directory); name the file with --config or GATEWAY_CONFIG"
    ]


def test_a_file_of_other_bytes_is_told(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(b"\xff\xfe")

    assert problems_of(file)[0].startswith("file: is not valid TOML")


USED = '[upstreams.there]\nurl = "${THERE_URL}/base"\n[[routes]]\nprefix = "/a"\nupstream = "there"\n'


def test_a_variable_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("THERE_URL", "http://there.test")

    assert read_settings(write(USED)).gateway.upstreams["there"].url == "http://there.test/base"


def test_variables_are_read_in_a_list_of_urls(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("THERE_URL", "http://there.test")
    text = USED.replace('url = "${THERE_URL}/base"', 'urls = ["${THERE_URL}", "http://other.test"]')

    assert read_settings(write(text)).gateway.upstreams["there"].urls == ("http://there.test", "http://other.test")


def test_however_one_url_is_written_the_rows_are_equal(write: Write) -> None:
    one, other = (
        read_settings(write(f"[upstreams.there]\n{line}")).gateway.upstreams["there"]
        for line in ("url = 'http://there.test'", "urls = ['http://there.test']")
    )

    assert one == other


def test_a_variable_may_be_a_setting_of_the_file(write: Write) -> None:
    text = USED.replace("THERE_URL", "AUTH_SERVICE_URL") + '[settings]\nauth_service_url = "http://auth.test"'

    assert read_settings(write(text)).gateway.upstreams["there"].url == "http://auth.test/base"


def test_an_unset_variable_matters_only_where_a_route_uses_it(write: Write) -> None:
    unused = USED.partition("[[routes]]")[0]

    assert read_settings(write(unused)).gateway.upstreams == {}
    assert problems_of(write(USED)) == [
        "upstreams.there: THERE_URL is not set; set THERE_URL in the environment or .env"
    ]


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.delenv("JWT_PUBLIC_KEY")
    monkeypatch.setenv("MODE", "prod")

    problems = problems_of(write(USED + 'colour = 1\n[settings]\nlog_level = "x"\nshape = 1'))

    assert [problem.removeprefix("environment: ").partition(":")[0] for problem in problems] == [
        "settings.shape",
        "upstreams.there",
        "routes.0.colour",
        "MODE",
        "JWT_JWKS_URL",
        "settings.log_level",
    ]


def test_settings_cannot_be_changed() -> None:
    settings = Settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.mode = "PROD"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_a_dsn_may_be_written_as_for_other_programs(scheme: str) -> None:
    settings = Settings(postgres_dsn=f"{scheme}://me:secret@db/name?ssl=require")

    assert settings.postgres_dsn == "postgresql+asyncpg://me:secret@db/name?ssl=require"


# ---- budgets


def test_budgets_are_written_as_pairs_in_the_environment_and_as_tables_or_pairs_in_the_file(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("BUDGET_RUN", "requests=5, cost=0.5")
    monkeypatch.setenv("BUDGET_AGENTS", '{"research": "cost=20"}')

    settings = read_settings(write('[settings]\nbudget_chat = "tokens=7"\n[settings.budget_user]\nseconds = 60'))

    assert settings.budget_run == {"requests": 5, "cost": Decimal("0.5")}
    assert settings.budget_agents == {"research": {"cost": 20}}
    assert settings.budget_chat == {"tokens": 7}
    assert settings.budget_user == {"seconds": 60}
    assert settings.budget_day == {}


def test_a_run_has_a_generous_budget_unless_told_otherwise(write: Write) -> None:
    settings = read_settings(write(""))

    assert settings.budget_run.keys() == {"requests", "tool_calls", "tokens", "cost", "seconds"}
    assert (settings.budget_agents, settings.budget_chat, settings.budget_user, settings.budget_day) == ({}, {}, {}, {})


@pytest.mark.parametrize(
    "text", ["requests", "requests=", "requests=-1", "requests=many", "miles=3", "cost=1,cost=2", "tokens=1e12"]
)
def test_a_budget_that_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, write: Write, text: str) -> None:
    monkeypatch.setenv("BUDGET_USER", text)

    (problem,) = problems_of(write(""))

    assert problem.startswith("environment: BUDGET_USER: ")


def test_budgets_of_agents_that_are_no_document_are_refused(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("BUDGET_AGENTS", "research: cost=20")

    (problem,) = problems_of(write(""))

    assert problem.startswith("environment: BUDGET_AGENTS: ")


# ---- rules about calls of tools


def test_rules_about_tools_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "planted-secret-7")

    rules = read_settings(
        write('[[tool_rules]]\ntools = "pay"\nrate_limit = "5/hour"\n\n[[tool_rules]]\nredact = ["SHOP_TOKEN"]\n')
    ).gateway.tool_rules

    assert [(rule.tools, rule.rate_limit, rule.redact) for rule in rules] == [
        ("pay", "5/hour", ()),
        ("*", None, ("SHOP_TOKEN",)),
    ]
    assert "planted-secret-7" not in repr(rules)


def test_a_rule_about_tools_that_is_wrong_is_refused_at_load_with_the_mend(write: Write) -> None:
    text = """
[[tool_rules]]
tool = "pay"
verdict = "deny"

[[tool_rules]]
rate_limit = "often"

[[tool_rules]]
tools = "pay"
"""

    problems = problems_of(write(text))

    assert problems == [
        "tool_rules.0.tool: is not a known key; remove it or mend its name",
        f"tool_rules.1.rate_limit: is no rate; {HOW_TO_WRITE}",
        "tool_rules.2: says nothing; give one of verdict, rate_limit, redact",
    ]


def test_a_variable_to_be_redacted_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.delenv("SHOP_TOKEN", raising=False)

    problems = problems_of(write('[[tool_rules]]\nredact = ["SHOP_TOKEN"]\n'))

    assert problems == ["tool_rules.0.redact: SHOP_TOKEN is not set; set SHOP_TOKEN in the environment or .env"]


def test_the_old_transport_of_mcp_servers_is_refused_with_the_mend(write: Write) -> None:
    problems = problems_of(write('[mcp_servers.old]\ntype = "sse"\nurl = "https://mcp.example.com/sse"\n'))

    (problem,) = problems
    assert problem.startswith('mcp_servers.old.type: is "sse", the transport of 2024, which is not spoken here')
    assert 'write "http"' in problem


# ---- notifications


def test_a_password_is_not_sent_in_the_clear(write: Write) -> None:
    file = write('[settings]\nsmtp_tls = "none"\nsmtp_password = "hunter2"')

    (problem,) = problems_of(file)

    assert "smtp_password: would be sent in the clear: set SMTP_TLS to starttls or ssl" in problem
    assert "hunter2" not in problem


def test_a_mail_server_needs_somebody_who_sends(write: Write) -> None:
    (problem,) = problems_of(write('[settings]\nsmtp_host = "mail.example.org"'))

    assert "SMTP_FROM: is missing: SMTP_HOST is set, so say who sends, as portico@example.org" in problem


@pytest.mark.parametrize("sender", ["portico@example.org", "Portico <portico@example.org>"])
def test_who_sends_may_have_a_name(write: Write, sender: str) -> None:
    settings = read_settings(write(f'[settings]\nsmtp_host = "mail.example.org"\nsmtp_from = "{sender}"'))

    assert (settings.smtp_from, settings.smtp_port, settings.smtp_tls) == (sender, None, "starttls")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notification_secret", "too short"),
        ("smtp_host", "mail.example.org:587"),
        ("smtp_from", "portico"),
        ("telegram_bot_token", "1:a/../b"),
        ("telegram_api_url", "https://api.telegram.org/"),
        ("slack_webhook_url", "hooks.slack.com"),
        ("notification_networks", "10.0.0.0/99"),
    ],
)
def test_a_setting_of_notifications_that_cannot_work_is_refused(write: Write, name: str, value: str) -> None:
    (problem,) = problems_of(write(f'[settings]\n{name} = "{value}"'))

    assert problem.startswith(f"settings.{name}: ")


def test_no_secret_of_notifications_is_shown(write: Write) -> None:
    secrets = dict.fromkeys(("smtp_password", "telegram_bot_token", "notification_secret"), "secret" * 8)
    secrets["slack_webhook_url"] = "https://hooks.slack.com/services/secret"
    written = "\n".join(f'{name} = "{value}"' for name, value in secrets.items())

    assert "secret" not in repr(read_settings(write(f"[settings]\n{written}"))).replace("notification_secret", "")
