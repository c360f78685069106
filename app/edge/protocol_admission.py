"""How many connections clients may hold open, in all and from one address. Per worker process."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Admission:
    """`leave` must be called once for each address that was admitted."""

    limit: int
    limit_per_address: int
    opened: int = 0
    _by_address: dict[str, int] = field(default_factory=dict)

    def admit(self, address: str, *, is_trusted: bool) -> bool:
        """Count a connection in, unless it is one too many; trusted peers speak for many clients."""
        held = self._by_address.get(address, 0)
        if self.opened >= self.limit or (held >= self.limit_per_address and not is_trusted):
            return False
        self.opened += 1
        self._by_address[address] = held + 1
        return True

    def leave(self, address: str) -> None:
        self.opened -= 1
        held = self._by_address[address] - 1
        if held:
            self._by_address[address] = held
        else:
            del self._by_address[address]
