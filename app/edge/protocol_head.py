"""The head of a request, read by llhttp; what llhttp lets through and RFC 9112 does not is refused by the chain."""

import httptools

from app.edge.faults import HeadMalformed
from app.edge.headers import Headers, named_in_connection

_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0")


class HeadParser:
    """Read one head after another; one parser serves a connection. Methods called `on_...` are llhttp's.

    Facts: llhttp is fed heads alone, since it skips the body of whatever asks for an upgrade, reads pipelined requests
    without a pause, and hands trailers over as fields. It skips empty lines before a request line; here one is.
    """

    __slots__ = ("_is_whole", "_llhttp", "asks_upgrade", "headers", "is_http_1_0", "is_persistent", "method", "target")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: Headers = []
        """names in lower case"""
        self.is_http_1_0 = False
        self.asks_upgrade = False
        """by Connection and Upgrade fields, or the method CONNECT"""
        self.is_persistent = False
        """by version and Connection field (RFC 9112 §9.3)"""
        self._llhttp: httptools.HttpRequestParser | None = None
        self._is_whole = False

    def parse(self, block: bytes) -> None:
        """Read a head, from its request line to its empty line. Errors: HeadMalformed."""
        self.method = self.target = b""
        self.headers = []
        self.asks_upgrade = self.is_persistent = self._is_whole = False
        line_bytes = block.index(b"\r\n")
        version = block[line_bytes - 9 : line_bytes]
        if version not in _VERSIONS or block[0] <= 32:
            raise HeadMalformed("The request line is not one of HTTP/1.1 or HTTP/1.0.")
        self.is_http_1_0 = version.endswith(b"0")
        self._feed(block)
        if self.is_http_1_0:
            self._mind_old_version()
        if len(self.method) + len(self.target) + 1 != line_bytes - 9:
            raise HeadMalformed("The request line is not three words with one space between them.")

    def end(self) -> None:
        """Let go of the parser, which refers to its reader."""
        self._llhttp = None

    def _feed(self, block: bytes) -> None:
        llhttp = self._llhttp
        if llhttp is None:
            llhttp = self._llhttp = httptools.HttpRequestParser(self)
        try:
            llhttp.feed_data(block)
        except httptools.HttpParserUpgrade:
            self._llhttp = None
        except httptools.HttpParserError as malformed:
            self._llhttp = None
            raise HeadMalformed(f"The head cannot be read: {malformed}.") from None
        if not self._is_whole:  # it waits for a body now, and is of no use for another head
            self._llhttp = None

    def _mind_old_version(self) -> None:
        """Source: RFC 9112 §6.1 and §9.3, of which llhttp knows nothing for HTTP/1.0."""
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            raise HeadMalformed("A message of HTTP/1.0 has no Transfer-Encoding.")
        if b"close" in named_in_connection(self.headers):
            self.is_persistent = False

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))  # llhttp leaves what stands behind a value (§5.1)

    def on_headers_complete(self) -> None:
        if self._llhttp is not None:
            self.method = self._llhttp.get_method()
            self.is_persistent = self._llhttp.should_keep_alive()
            self.asks_upgrade = self._llhttp.should_upgrade()

    def on_message_complete(self) -> None:
        self._is_whole = True
