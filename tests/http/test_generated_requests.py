"""Whatever is sent to an endpoint, the answer is one that `/openapi.json` describes, and no error of ours.

The soak of the same name sends more of everything.
"""

from pathlib import Path

import httpx
import pytest

from tests.generated import send_generated
from tests.http.calls import as_

SEED = 20261128


@pytest.mark.parametrize(
    ("role", "phases"),
    [pytest.param("user", ("coverage",), marks=pytest.mark.soak), ("admin", ("stateful",))],
    ids=["user", "admin"],
)
def test_every_answer_to_a_generated_request_is_described(
    gateway_url: str, tmp_path: Path, role: str, phases: tuple[str, ...]
) -> None:
    headers = as_("the-generator", role)

    outcome = send_generated(gateway_url, headers, tmp_path, seed=SEED, examples=5, phases=phases)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    # it withdrew whatever tokens it liked; where its own was among them, it saw refusals only
    assert httpx.get(f"{gateway_url}/api/v1/chats/", headers=headers).status_code == 200
