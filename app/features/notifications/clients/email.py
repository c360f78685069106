"""Email, by the operator's SMTP server: one message to one address on a connection of its own.

Facts
- Submission is on 587 with STARTTLS, or on 465 with TLS from the first byte (RFC 8314 §3.3): two settings, never both.
- What matters is the answer to the end of DATA (RFC 5321 §4.2.5). Behind it nothing is waited for: QUIT is sent, its
  answer is not read, so that nothing that goes wrong there makes a message be sent again.
- A 4xx to a recipient or a message may pass, a 5xx will not (RFC 5321 §4.2.1). Any other refusal (a greeting, a login,
  a sender) is the operator's to mend.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from functools import cache
from pathlib import Path
from typing import Literal

import aiosmtplib

from app.features.notifications.domain.backoff import ACCEPTED, Answer, Attempted
from app.features.notifications.domain.wording import body, headline
from app.features.notifications.ports import Message

TIMEOUT_S = 15
PORTS = {"starttls": 587, "ssl": 465, "none": 25}

type Tls = Literal["starttls", "ssl", "none"]


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """`ca` is a file of certificates to believe instead of the system's; without TLS there is no login."""

    host: str
    port: int | None = None
    tls: Tls = "starttls"
    sender: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class SmtpEmail:
    """Implements `Sender`."""

    server: SmtpServer
    timeout_s: float = TIMEOUT_S

    async def send(self, message: Message) -> Attempted:
        if not self.server.host:
            return Attempted(Answer.FAILED, "SMTP_HOST is not set")
        client = self._client()
        try:
            await client.connect()
            await client.send_message(
                _letter(message, self.server.sender),
                sender=parseaddr(self.server.sender)[1],
                recipients=[message.address],
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            return _judged(error)
        finally:
            _leave(client)
        return ACCEPTED

    def _client(self) -> aiosmtplib.SMTP:
        server = self.server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port or PORTS[server.tls],
            username=server.username or None,
            password=server.password or None,
            local_hostname=socket.gethostname(),
            timeout=self.timeout_s,
            use_tls=server.tls == "ssl",
            start_tls=server.tls == "starttls",
            tls_context=None if server.tls == "none" else _context(server.ca),
        )


@cache
def _context(ca: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def _letter(message: Message, sender: str) -> EmailMessage:
    one = message.notification
    letter = EmailMessage(policy=SMTP_POLICY)
    letter["From"] = sender
    letter["To"] = message.address
    letter["Subject"] = headline(one)
    letter["Date"] = format_datetime(one.created_at)
    letter["Message-ID"] = f"<{message.name}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: nobody's vacation answers it
    letter.set_content(body(one))
    return letter


def _judged(error: Exception) -> Attempted:
    """Tell what became of it by the code, never in the server's words."""
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return Attempted(Answer.FAILED, "the mail server refused the login")
        case aiosmtplib.SMTPRecipientsRefused(recipients=[first, *_]):
            return _by_code(first.code)
        case aiosmtplib.SMTPDataError():
            return _by_code(error.code)
        case aiosmtplib.SMTPResponseException():
            return Attempted(Answer.FAILED, f"the mail server answered {error.code}")
        case _:
            return Attempted(Answer.FAILED, f"the mail server could not be talked to ({type(error).__name__})")


def _by_code(code: int) -> Attempted:
    return Attempted(Answer.GONE if 500 <= code < 600 else Answer.FAILED, f"the mail server answered {code}")


def _leave(client: aiosmtplib.SMTP) -> None:
    transport = client.transport
    if isinstance(transport, asyncio.WriteTransport) and not transport.is_closing():
        transport.write(b"QUIT\r\n")
    client.close()
