"""What is measured: an address, the process that answers there, and a token that it takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """The processor time of `pid` and its children is the target's."""

    name: str
    port: int
    pid: int
    token: str
    is_tls: bool = False

    def url(self, path: str) -> str:
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.port}{path}"

    def head(self, method: str, path: str, *fields: str) -> bytes:
        """Write the head of a request as every client here sends it."""
        lines = (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Authorization: Bearer {self.token}")
        return "\r\n".join((*lines, *fields, "", "")).encode()
