"""From an upstream's operation back to the front door: which paths a client may take to reach it.

`strip` and `rewrite` are undone to guess paths, and a guess counts only if the registry itself leads from it to the
operation: what is found here is what requests do, whatever the rows look like.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from string import ascii_lowercase

from app.edge.rewrite_inverse import Inverse, invert
from app.edge.routes import Route, RouteRegistry
from app.edge.routing import path_flaw
from app.infra.openapi.ports import Entrance, stricter
from app.kernel.errors import Fault
from app.kernel.identity import Access

MAX_ENTRANCES = 8
"""to one operation: more ways in help no reader"""

_PARAMETER = re.compile(r"\{[^{}/]+\}")
_SAMPLES = (
    tuple(f"placeholder{letter}" for letter in ascii_lowercase),
    tuple(f"73100{number:02}" for number in range(26)),
    tuple(f"00000000-0000-4000-8000-0000000000{number:02}" for number in range(26)),
)
"""What may stand for a parameter: a word, else a number, else a UUID, as a rewrite may ask for either."""


@dataclass(frozen=True, slots=True)
class _Undo:
    """How one row's path becomes the upstream's: `stood` in front of what is kept, `stands` there now."""

    stood: str
    stands: str


@dataclass(frozen=True, slots=True)
class _Ways:
    """What may have been done to a path on its way to one upstream; `undos` by the row's own path, as it stands."""

    base_path: str
    undos: Mapping[str, Sequence[_Undo]]
    inverses: Sequence[Inverse]


@dataclass(frozen=True, slots=True)
class Entrances:
    """The inverse of one registry.

    Cost: a look-up a segment, and one regular expression for each rewrite of the upstream's rows.
    Concurrency: immutable; may be asked in any thread.
    """

    registry: RouteRegistry
    _ways: Mapping[str | None, _Ways]

    @classmethod
    def of(cls, registry: RouteRegistry) -> "Entrances":
        rows: dict[str | None, list[Route]] = defaultdict(list)
        for route in registry.routes:
            rows[route.upstream].append(route)
        return cls(registry, {upstream: _ways(routes) for upstream, routes in rows.items()})

    def __call__(self, upstream: str | None, method: str, path: str) -> Sequence[Entrance]:
        """See `FindEntrances`. A path that does not start with that of the upstream's URL is taken as below it."""
        ways = self._ways.get(upstream)
        names = _PARAMETER.findall(path)
        if ways is None or len(names) > len(_SAMPLES[0]) or not path.isascii():
            return ()
        whole = path if path.startswith(f"{ways.base_path}/") else ways.base_path + path
        for samples in _SAMPLES if names else _SAMPLES[:1]:
            filled = _fill(whole, samples)
            ways_in = (
                Entrance(_unfill(front, names, samples), access)
                for front in dict.fromkeys(_candidates(ways, filled))
                if (access := self._access(upstream, method.encode(), front, filled)) is not None
            )
            if found := list(islice(ways_in, MAX_ENTRANCES)):
                return found
        return ()

    def _access(self, upstream: str | None, method: bytes, front: str, expected: str) -> Access | None:
        """Send a path through the registry; tell who may enter if it arrives where it should."""
        if path_flaw(front.encode(), encoded_slashes=True) is not None:  # as the limits stage would
            return None
        try:
            route = self.registry.match(method, front.encode())
            arrives = route.upstream_path(method, front.encode())
        except Fault:
            return None
        if route.upstream != upstream or arrives != expected.encode():
            return None
        return stricter(route.access, route.also_access)


def _ways(routes: Sequence[Route]) -> _Ways:
    undos: dict[str, list[_Undo]] = defaultdict(list)
    inverses: dict[Inverse, None] = {}
    for route in routes:
        stood, stands = route.pattern[: route.skipped_bytes].decode(), route.sent_before.decode()
        if stood != stands:
            undos[stands + route.pattern[route.skipped_bytes :].decode()].append(_Undo(stood, stands))
        for rewrite in route.rewrites:
            inverse = invert(rewrite.match.pattern, rewrite.to)
            if inverse is not None:
                inverses[inverse] = None
    return _Ways(
        routes[0].base_path.decode(),
        {row: tuple(dict.fromkeys(found)) for row, found in undos.items()},
        tuple(inverses),
    )


def _candidates(ways: _Ways, path: str) -> Iterator[str]:
    sent = path.removeprefix(ways.base_path)
    for whole in (sent, *(front for one in ways.inverses if (front := one.undo(sent)) is not None)):
        yield whole
        for row in _rows_around(whole):
            yield from _unstripped(whole, ways.undos.get(row, ()))


def _rows_around(path: str) -> Iterator[str]:
    """Yield what a row could be that takes a path: itself, and whatever ends on a segment boundary before it."""
    yield path
    end = path.rfind("/")
    while end >= 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def _unstripped(path: str, undos: Iterable[_Undo]) -> Iterator[str]:
    for undo in undos:
        front = undo.stood + path.removeprefix(undo.stands)
        yield front
        if path == "/":  # what is left of a row that was stripped whole
            yield undo.stood


def _fill(template: str, samples: Sequence[str]) -> str:
    left = iter(samples)
    return _PARAMETER.sub(lambda _: next(left), template)


def _unfill(path: str, names: Sequence[str], samples: Sequence[str]) -> str:
    for name, sample in zip(names, samples, strict=False):
        path = path.replace(sample, name)
    return path
