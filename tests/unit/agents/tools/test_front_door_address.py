"""Where agents find their own front door."""

import pytest

from app.agents.tools.front_door import FrontDoorAddress


@pytest.mark.parametrize(
    ("server", "root_path", "url"),
    [
        (("127.0.0.1", 8000), "", "http://127.0.0.1:8000"),
        (("::1", 8000), "", "http://[::1]:8000"),
        (("127.0.0.1", 8000), "/assistant", "http://127.0.0.1:8000/assistant"),
        (("/run/portico.sock", None), "", ""),
        (None, "", ""),
    ],
    ids=str,
)
def test_it_is_learned_from_the_listener_and_where_we_are_mounted(
    server: tuple[str, int | None] | None, root_path: str, url: str
) -> None:
    address = FrontDoorAddress(root_path=root_path)

    address.learn(server, "http")

    assert address.url == url


def test_the_one_that_is_configured_stays() -> None:
    address = FrontDoorAddress("https://gateway.example")

    address.learn(("127.0.0.1", 8000), "http")

    assert address.url == "https://gateway.example"
