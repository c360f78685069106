"""How an MCP server may be written, and what is said of one that is not written so."""

import json
from pathlib import Path

import pytest

from app.mcp_rows import OLD_TRANSPORT, McpServerRow, RowFlaw, read_mcp_json
from app.settings import ConfigurationInvalid, Settings, read_settings

USUAL = {
    "mcpServers": {
        "files": {"command": "npx", "args": ["-y", "server-files", "${HOME}"], "env": {"LEVEL": "1"}},
        "github": {
            "type": "http",
            "url": "https://mcp.example.com/mcp",
            "headers": {"Authorization": "Bearer ${GITHUB_TOKEN}"},
        },
        "old": {"command": "old", "args": ["${NOBODY_SET_THIS}"], "disabled": True},
    }
}
KNOWN = {"HOME": "/home/a", "GITHUB_TOKEN": "planted-token-1", "OTHER": "o"}


def test_the_usual_form_is_read_and_holds_no_secret() -> None:
    rows, flaws = read_mcp_json(json.dumps(USUAL).encode(), known=KNOWN, allowed={"HOME", "GITHUB_TOKEN"})

    assert flaws == []
    assert (rows["files"].command, rows["files"].args) == ("npx", ("-y", "server-files", "${HOME}"))
    assert rows["github"].headers == {"Authorization": "Bearer ${GITHUB_TOKEN}"}
    assert rows["old"].disabled
    assert "planted-token-1" not in repr(rows)


def test_a_variable_is_used_where_it_is_allowed_alone() -> None:
    _, flaws = read_mcp_json(json.dumps(USUAL).encode(), known={"HOME": "/"}, allowed={"GITHUB_TOKEN"})

    assert flaws == [
        RowFlaw("mcpServers.files", "${HOME} may not be used here", "add HOME to MCP_VARIABLES if it may"),
        RowFlaw("mcpServers.github", "GITHUB_TOKEN is not set", "set GITHUB_TOKEN in the environment or .env"),
    ]


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (
            b"{",
            "file",
            "is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (b"\xff", "file", "is not valid JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b" " * 1_048_577, "file", "is larger than 1048576 bytes"),
        (b"[]", "mcpServers", "must be an object"),
        (b'{"servers": {}}', "mcpServers", "must be an object"),
        (b'{"mcpServers": {}, "inputs": []}', "inputs", "is not a known key"),
    ],
    ids=["cut off", "no text", "large", "list", "other key", "more"],
)
def test_a_file_that_is_none_is_said_to_be_none(content: bytes, key: str, message: str) -> None:
    rows, flaws = read_mcp_json(content, known={}, allowed=())

    assert rows == {}
    assert [(flaw.key, flaw.message) for flaw in flaws] == [(key, message)]


@pytest.mark.parametrize(
    ("row", "key", "message"),
    [
        ({}, "", "needs either command, a program to start, or url, an address to call"),
        (
            {"command": "a", "url": "http://a/"},
            "",
            "needs either command, a program to start, or url, an address to call",
        ),
        ({"command": "a", "type": "http"}, "", "is of type http, and has command"),
        ({"url": "http://a/", "type": "stdio"}, "", "is of type stdio, and has url"),
        ({"command": "a", "headers": {"a": "b"}}, "", "headers is not for a program"),
        ({"command": "a", "caller_token": True}, "", "caller_token is not for a program"),
        ({"url": "http://a/", "env": {"A": "b"}}, "", "env is not for an address"),
        ({"url": "ftp://a/"}, ".url", "is not an address such as https://mcp.example.com/mcp"),
        ({"url": "http://"}, ".url", "is not an address such as https://mcp.example.com/mcp"),
        ({"url": "http://me:word@a/"}, ".url", "holds a name or a password; put it into headers, by a variable"),
        ({"url": "http://a/", "headers": {"a b": "c"}}, ".headers", "a b is not a header"),
        ({"url": "http://a/", "headers": {"a": "c\r\nx: y"}}, ".headers", "a is not a header"),
        ({"url": "http://a/", "headers": {"Mcp-Session-Id": "c"}}, ".headers", "Mcp-Session-Id is the protocol's own"),
        (
            {"url": "http://a/", "headers": {"Authorization": "c"}, "caller_token": True},
            "",
            "authorization would be sent twice",
        ),
        ({"command": "a", "autoApprove": ["x"]}, ".autoApprove", "is not a known key"),
        ({"command": "a", "timeout_s": 0}, ".timeout_s", "Input should be greater than 0"),
        ({"command": "a", "args": "-v"}, ".args", "Input should be a valid array"),
        ({"command": 3}, ".command", "Input should be a valid string"),
        ({"url": "http://a/sse", "type": "sse"}, ".type", OLD_TRANSPORT),
        ([], "", "Input should be an object"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(row: object, key: str, message: str) -> None:
    rows, flaws = read_mcp_json(json.dumps({"mcpServers": {"one": row}}).encode(), known={}, allowed=())

    assert rows == {}
    assert [(flaw.key, flaw.message) for flaw in flaws] == [(f"mcpServers.one{key}", message)]


def test_an_address_may_come_from_a_variable() -> None:
    assert McpServerRow(url="${WHERE}").variables == {"WHERE"}
    assert McpServerRow(url="https://${WHERE}/mcp").variables == {"WHERE"}


def test_everything_wrong_with_either_file_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _bare(monkeypatch)
    config, mcp = tmp_path / "gateway.toml", tmp_path / "mcp.json"
    config.write_text(
        f'[settings]\nmcp_config = "{mcp}"\n'
        "[mcp_servers.here]\ncommand = 'a'\nargs = ['${NOBODY_SET_THIS}']\n"
        "[mcp_servers.twice]\ncommand = 'a'\n"
    )
    mcp.write_text('{"mcpServers": {"twice": {"command": "b"}, "a b": {"command": "c"}, "wrong": {"url": "x"}}}')

    with pytest.raises(ConfigurationInvalid) as invalid:
        read_settings(config)

    assert [str(problem) for problem in invalid.value.problems] == [
        f"{config}: mcp_servers.here: NOBODY_SET_THIS is not set; set NOBODY_SET_THIS in the environment or .env",
        f"{mcp}: mcpServers.a b: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_-]{{0,31}}$'",
        f"{mcp}: mcpServers.wrong.url: is not an address such as https://mcp.example.com/mcp",
        f"{mcp}: mcpServers.twice: stands in {config}, too; rename one of them",
    ]


def test_servers_of_both_files_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _bare(monkeypatch)
    monkeypatch.setenv("MCP_CONFIG", str(tmp_path / "mcp.json"))
    monkeypatch.setenv("MCP_VARIABLES", "HOME, GITHUB_TOKEN")
    monkeypatch.setenv("GITHUB_TOKEN", "planted-token-1")
    (tmp_path / "gateway.toml").write_text("[mcp_servers.here]\ncommand = 'a'\n")
    (tmp_path / "mcp.json").write_text(json.dumps(USUAL))

    settings = read_settings(tmp_path / "gateway.toml")

    assert set(settings.gateway.mcp_servers) == {"here", "files", "github", "old"}
    assert "planted-token-1" not in repr(settings)


def test_a_row_of_the_table_that_is_wrong_is_told_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _bare(monkeypatch)
    (tmp_path / "gateway.toml").write_text("[mcp_servers.here]\ncommand = 'a'\nshell = true\n")

    with pytest.raises(ConfigurationInvalid, match=r"mcp_servers\.here\.shell: is not a known key"):
        read_settings(tmp_path / "gateway.toml")


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _bare(monkeypatch)
    monkeypatch.setenv("MCP_CONFIG", str(tmp_path / "none.json"))
    (tmp_path / "gateway.toml").write_text("")

    with pytest.raises(ConfigurationInvalid, match=r"none\.json: file: cannot be read \(No such file or directory\)"):
        read_settings(tmp_path / "gateway.toml")


def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("NOBODY_SET_THIS", raising=False)
    monkeypatch.setenv("JWT_JWKS_URL", "http://auth/jwks")
