"""The line is run by a shell; a program of the same name stands where `curl` would be, and tells what it was told."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.features.tasks.domain.curl import curl_line
from app.features.tasks.domain.signatures import Bearer, Delivery, Hmac, Scheme, Standard, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TELL = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"
SCHEMES: dict[str, Scheme] = {
    "standard": Standard(),
    "github": Hmac(id_header="X-GitHub-Delivery"),
    "slack": Hmac("X-Slack-Signature", "v0=", "hex", "X-Slack-Request-Timestamp", "v0:{timestamp}:{body}"),
    "odd": Hmac("X-Sum", "it's=", "base64", "X-At", "it's {body} at {timestamp}"),
    "bearer": Bearer(),
}


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_the_line_delivers_what_verifies_once_pasted(scheme: Scheme, shell: str, tmp_path: Path) -> None:
    stand_in = tmp_path / "curl"
    stand_in.write_text(TELL)
    stand_in.chmod(0o755)

    told = _run(shell, curl_line("http://127.0.0.1:8000/api/v1/tasks/webhooks/it's", scheme, SECRET), tmp_path)

    assert told[-1] == "http://127.0.0.1:8000/api/v1/tasks/webhooks/it's"
    fields = [told[at + 1] for at, word in enumerate(told) if word == "-H"]
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    body = told[told.index("--data") + 1].encode()
    verified = verify(scheme, Delivery(headers, body), [SECRET], now_s=time.time())
    assert json.loads(body) == {"hello": "world"}
    assert (verified.id is not None) == (scheme in {SCHEMES["standard"], SCHEMES["github"]})


def _run(shell: str, line: str, path: Path) -> list[str]:
    environ = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    assert "\n" not in line
    done = subprocess.run([shell, "-c", line], env=environ, capture_output=True, check=True, timeout=30)
    told: list[str] = json.loads(done.stdout)
    return told
