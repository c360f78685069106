"""The same as in the normal suite, for longer, against the real program."""

from pathlib import Path

import httpx
import pytest

from tests.builders import bearer
from tests.generated import send_generated
from tests.soak.stand import HEALTH, LOCAL, a_gateway, say

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
DESCRIPTION = '[[routes]]\npath = "/openapi.json"\nlocal = true\naccess = "PUBLIC"\n'
EXAMPLES = 200


@pytest.mark.parametrize("role", [None, "user", "admin"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_answer_to_many_generated_requests_is_described(
    home: Path, migrated_dsn: str, role: str | None, seed: int
) -> None:
    headers = bearer(sub="the-generator", role=role) if role else {}
    with a_gateway(home, HEALTH + LOCAL + DESCRIPTION, workers=2, POSTGRES_DSN=migrated_dsn) as gateway:
        outcome = send_generated(gateway.url, headers, home, seed=seed, examples=EXAMPLES, within_s=900)
        still_enters = httpx.get(f"{gateway.url}/api/v1/chats/", headers=headers).status_code == 200

    say(f"{role}, seed {seed}: " + next(line for line in outcome.stdout.splitlines() if "generated" in line).strip())
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert still_enters or not role
