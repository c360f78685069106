"""`/mcp` before the conformance suite of MCP itself, where there is a Node.js that runs it (decision 0037)."""

import http.client
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.http.calls import make_key, somebody

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE_AT_LEAST = 22
INSTALL_TIMEOUT_S = 90
SUITE_TIMEOUT_S = 110
# they ask for what only a server has that is written for the suite, or for what is not offered here: see the decision
NOT_OURS = (
    "completion-complete",
    "json-schema-2020-12",
    "prompts-get-embedded-resource",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-with-image",
    "resources-read-binary",
    "resources-read-text",
    "resources-templates-read",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-error",
    "tools-call-image",
    "tools-call-mixed-content",
    "tools-call-simple-text",
    "tools-call-with-progress",
)
NOT_OURS_BEFORE = (
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "logging-set-level",
    "resources-subscribe",
    "resources-unsubscribe",
    "server-sse-multiple-streams",
    "tools-call-elicitation",
    "tools-call-sampling",
    "tools-call-with-logging",
)
NOT_OURS_SINCE = (
    "http-custom-header-server-validation",
    "input-required-result-basic-elicitation",
    "input-required-result-basic-list-roots",
    "input-required-result-basic-sampling",
    "input-required-result-capability-check",
    "input-required-result-multi-round",
    "input-required-result-multiple-input-requests",
    "input-required-result-non-tool-request",
    "input-required-result-request-state",
    "input-required-result-result-type",
    "input-required-result-tampered-state",
    "server-stateless",
)
UNFIT = {"2025-11-25": (*NOT_OURS, *NOT_OURS_BEFORE), "2026-07-28": (*NOT_OURS, *NOT_OURS_SINCE)}


def _why_not() -> str:
    """Say what is missing; "" where nothing is."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return f"MCP's conformance suite needs Node.js {NODE_AT_LEAST} or later with npm, and there is none"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    if not major.isdecimal() or int(major) < NODE_AT_LEAST:
        return f"MCP's conformance suite needs Node.js {NODE_AT_LEAST} or later; this is {version or 'none'}"
    return ""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it, from npm's cache where it was once before."""
    if reason := _why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("conformance")
    command = ["npm", "install", "--prefix", str(folder), "--prefer-offline", "--ignore-scripts", "--no-audit"]
    try:
        done = subprocess.run([*command, SUITE], capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {SUITE} in {INSTALL_TIMEOUT_S} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {SUITE}: {done.stderr.strip()[-200:]}")
    return folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"


@pytest.fixture(scope="module")
def door(gateway_url: str, caller: httpx.Client) -> Iterator[str]:
    """The door as the suite sees it, which carries no token: somebody before it puts a key to each request."""
    key = make_key(caller, somebody(), scopes=["/mcp"])["key"]

    class Doorman(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            onward = http.client.HTTPConnection(urlsplit(gateway_url).netloc, timeout=30)
            onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                onward.putheader(name, value)
            onward.putheader("authorization", f"Bearer {key}")
            onward.endheaders(body)
            answer = onward.getresponse()
            said = answer.read()
            onward.close()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = pass_on  # noqa: N815 - names that the base class asks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Doorman) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        serving.join(5)


@pytest.mark.parametrize("version", UNFIT)
def test_what_is_asked_of_any_server_is_done_and_no_more_is_left_undone_than_we_say(
    suite: Path, door: str, version: str, tmp_path: Path
) -> None:
    unfit = tmp_path / "unfit.yml"
    unfit.write_text("server:\n" + "".join(f"  - {name}\n" for name in UNFIT[version]))

    done = subprocess.run(
        ["node", str(suite), "server", "--url", door, "--spec-version", version, "--expected-failures", str(unfit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SUITE_TIMEOUT_S,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
