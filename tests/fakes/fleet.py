"""A fleet in memory: each upstream publishes what the test says, or fails with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.infra.openapi.ports import DescriptionUnusable, FindEntrances


@dataclass(slots=True)
class FakeFleet:
    """`published` holds a description, or the words of why there is none; `places` changes who publishes it."""

    find: FindEntrances
    published: dict[str, bytes | str] = field(default_factory=dict)
    places: dict[str, object] = field(default_factory=dict)
    on_fetch: Callable[[str], None] = lambda name: None
    fetches: list[str] = field(default_factory=list)
    rows: object = field(default_factory=object)

    def table(self) -> object:
        return self.rows

    def publishers(self) -> Mapping[str, object]:
        return {name: self.places.setdefault(name, object()) for name in self.published}

    async def fetch(self, upstream: str, *, limit_bytes: int) -> bytes:
        self.fetches.append(upstream)
        self.on_fetch(upstream)
        found = self.published[upstream]
        if isinstance(found, str):
            raise DescriptionUnusable(found)
        assert len(found) <= limit_bytes
        return found

    def finder(self) -> FindEntrances:
        return self.find
