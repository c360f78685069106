"""Each channel against a peer that speaks its protocol: mail servers with and without TLS, and HTTP."""

import asyncio
import email
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from app.features.notifications.clients.email import SmtpEmail, SmtpServer
from app.features.notifications.clients.posting import Posting
from app.features.notifications.clients.slack import SlackWebhook
from app.features.notifications.clients.telegram import TelegramBot
from app.features.notifications.clients.webhook import SignedWebhook
from app.features.notifications.domain.backoff import ACCEPTED, Answer
from app.features.notifications.domain.news import About, Kind, Notification
from app.features.notifications.domain.signing import SigningKey
from app.features.notifications.domain.wording import title_of
from app.features.notifications.ports import Message
from app.infra.http_client.client import HttpClient
from app.infra.http_client.egress import networks_of
from app.kernel.clock import SystemClock
from app.kernel.ids import NotificationId, RunId, UserId
from tests.e2e.certificate import self_signed
from tests.receivers import Receiver, Reply, verified

USER, PASSWORD = "portico", "a password"
TOKEN = "123:abc"
KEY = SigningKey("k" * 32)
# aiosmtpd's handlers and sessions are untyped: they are handed through as Any
type Untyped = Any
type Tls = Literal["starttls", "ssl", "none"]


def a_message(address: str = "", *, title: str = "Bericht für dich", text: str = "It is\nthere.") -> Message:
    notification = Notification(
        id=NotificationId(UUID(int=9)),
        owner=UserId("ann"),
        kind=Kind.ERROR,
        title=title,
        text=text,
        about=About(RunId(UUID(int=7)), UUID(int=8), None, "helper"),
        details={},
        created_at=datetime(2026, 11, 28, 12, 0, tzinfo=UTC),
    )
    return Message("msg_9_1", address, notification)


@dataclass
class Mailbox:
    """What a mail server took; `refusal` is what it says to recipients or to a message instead."""

    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)
    were_encrypted: list[bool] = field(default_factory=list)
    refuses_recipients: str = ""
    refuses_messages: str = ""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Untyped, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuses_recipients:
            return self.refuses_recipients
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - as above
        self, server: Untyped, session: Session, envelope: Envelope
    ) -> str:
        if self.refuses_messages:
            return self.refuses_messages
        assert isinstance(envelope.content, bytes)
        self.letters.append(email.message_from_bytes(envelope.content, policy=default))
        self.recipients += [str(one) for one in envelope.rcpt_tos]
        self.were_encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 OK"

    def authenticate(
        self, server: Untyped, session: Session, envelope: Envelope, mechanism: str, data: Untyped
    ) -> AuthResult:
        self.logins.append(data.login)
        return AuthResult(handled=False, success=data == LoginPassword(USER.encode(), PASSWORD.encode()))


@asynccontextmanager
async def mail_server(box: Mailbox, *, tls: Tls = "none", pair: tuple[Path, Path] | None = None) -> AsyncIterator[int]:
    """Serve on loopback; with TLS a login is offered."""
    context = None
    if pair is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*pair)
    given: dict[str, Untyped] = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if tls == "starttls":
        given |= {"tls_context": context, "require_starttls": True}
    if tls != "none":
        given |= {"authenticator": box.authenticate, "auth_require_tls": tls == "starttls"}
    loop, sessions = asyncio.get_running_loop(), list[SMTP]()

    def session() -> SMTP:
        sessions.append(SMTP(box, loop=loop, **given))
        return sessions[-1]

    server = await loop.create_server(session, "127.0.0.1", 0, ssl=context if tls == "ssl" else None)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for one in sessions:
        if isinstance(one.transport, asyncio.WriteTransport):
            one.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `localhost`, which stands for nobody's but is its own authority."""
    return self_signed(tmp_path_factory.mktemp("mail"))


def a_server(port: int, *, tls: Tls = "none", **given: Untyped) -> SmtpServer:
    return SmtpServer(host="localhost", port=port, tls=tls, sender="Portico <portico@example.org>", **given)


@pytest.mark.parametrize("tls", ["starttls", "ssl"])
async def test_mail_goes_encrypted_under_a_login(tls: Tls, pair: tuple[Path, Path]) -> None:
    box = Mailbox()
    async with mail_server(box, tls=tls, pair=pair) as port:
        server = a_server(port, tls=tls, username=USER, password=PASSWORD, ca=pair[0])

        attempted = await SmtpEmail(server).send(a_message("ann@example.org"))

    assert attempted == ACCEPTED
    assert (box.recipients, box.logins, box.were_encrypted) == (["ann@example.org"], [USER.encode()], [True])


async def test_a_letter_says_who_what_and_when_and_has_the_same_name_each_time() -> None:
    box = Mailbox()
    async with mail_server(box) as port:
        for _ in range(2):
            assert await SmtpEmail(a_server(port)).send(a_message("ann@example.org")) == ACCEPTED

    letter, again = box.letters
    assert {name: letter[name] for name in ("From", "To", "Subject", "Date", "Auto-Submitted")} == {
        "From": "Portico <portico@example.org>",
        "To": "ann@example.org",
        "Subject": "[Failed] Bericht für dich",
        "Date": "Sat, 28 Nov 2026 12:00:00 +0000",
        "Auto-Submitted": "auto-generated",
    }
    assert letter["Message-ID"] == again["Message-ID"] == "<msg_9_1@example.org>"
    assert letter.get_content().splitlines()[:4] == ["It is", "there.", "", "agent: helper"]


async def test_a_certificate_that_nobody_believes_gets_neither_login_nor_letter(pair: tuple[Path, Path]) -> None:
    box = Mailbox()
    for tls in ("starttls", "ssl"):
        async with mail_server(box, tls=tls, pair=pair) as port:
            attempted = await SmtpEmail(a_server(port, tls=tls, username=USER, password=PASSWORD)).send(
                a_message("ann@example.org")
            )
        assert attempted.answer is Answer.FAILED

    assert (box.letters, box.logins) == ([], [])


async def test_a_server_that_offers_no_tls_is_not_talked_to_without_where_it_is_demanded() -> None:
    box = Mailbox()
    async with mail_server(box) as port:
        server = a_server(port, tls="starttls", username=USER, password=PASSWORD)
        attempted = await SmtpEmail(server).send(a_message("ann@example.org"))

    assert attempted.answer is Answer.FAILED
    assert (box.letters, box.logins) == ([], [])


@pytest.mark.parametrize(
    ("recipients", "messages", "answer", "words"),
    [
        ("450 later", "", Answer.FAILED, "the mail server answered 450"),
        ("550 nobody here", "", Answer.GONE, "the mail server answered 550"),
        ("", "451 later", Answer.FAILED, "the mail server answered 451"),
        ("", "554 spam from 10.0.0.1", Answer.GONE, "the mail server answered 554"),
    ],
)
async def test_what_a_mail_server_refuses_is_judged_by_its_code(
    recipients: str, messages: str, answer: Answer, words: str
) -> None:
    box = Mailbox(refuses_recipients=recipients, refuses_messages=messages)
    async with mail_server(box) as port:
        attempted = await SmtpEmail(a_server(port)).send(a_message("ann@example.org"))

    assert (attempted.answer, attempted.words) == (answer, words)


async def test_a_wrong_password_is_for_the_operator_to_mend(pair: tuple[Path, Path]) -> None:
    async with mail_server(Mailbox(), tls="ssl", pair=pair) as port:
        server = a_server(port, tls="ssl", username=USER, password="wrong", ca=pair[0])
        attempted = await SmtpEmail(server).send(a_message("ann@example.org"))

    assert (attempted.answer, attempted.words) == (Answer.FAILED, "the mail server refused the login")


async def test_a_mail_server_that_is_not_there_or_says_nothing_is_a_failure_in_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]

    async with silent:
        silence = await SmtpEmail(a_server(port), timeout_s=0.3).send(a_message("ann@example.org"))
    nobody = await SmtpEmail(a_server(port)).send(a_message("ann@example.org"))
    unset = await SmtpEmail(SmtpServer("")).send(a_message("ann@example.org"))

    assert [one.answer for one in (silence, nobody, unset)] == [Answer.FAILED] * 3
    assert unset.words == "SMTP_HOST is not set"


async def test_a_title_cannot_add_a_header() -> None:
    box = Mailbox()
    async with mail_server(box) as port:
        title = title_of("done\r\nBcc: everybody@example.org")
        assert await SmtpEmail(a_server(port)).send(a_message("ann@example.org", title=title)) == ACCEPTED

    assert box.recipients == ["ann@example.org"]
    assert box.letters[0]["Bcc"] is None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
async def posting() -> AsyncIterator[Posting]:
    http = HttpClient.open()
    yield Posting(http, SystemClock(), networks_of(["127.0.0.0/8"]))
    await http.aclose()


async def test_slack_gets_text_at_the_owners_webhook_or_the_operators(posting: Posting, receiver: Receiver) -> None:
    slack = SlackWebhook(posting, f"{receiver.url}/services/operator")

    owners = await slack.send(a_message(f"{receiver.url}/services/owner", title="<b>"))
    operators = await slack.send(a_message())
    unset = await SlackWebhook(posting).send(a_message())

    assert (owners, operators) == (ACCEPTED, ACCEPTED)
    assert (unset.answer, unset.words) == (Answer.FAILED, "SLACK_WEBHOOK_URL is not set")
    assert [one.path for one in receiver.got] == ["/services/owner", "/services/operator"]
    assert receiver.got[0].json["text"].startswith("*[Failed] &lt;b&gt;*\nIt is\nthere.")
    assert receiver.got[0].headers["content-type"] == "application/json"


async def test_telegram_gets_a_message_to_the_chat(posting: Posting, receiver: Receiver) -> None:
    bot = TelegramBot(posting, receiver.url, TOKEN)

    attempted = await bot.send(a_message("-100200"))

    assert attempted == ACCEPTED
    assert receiver.got[0].path == f"/bot{TOKEN}/sendMessage"
    said = receiver.got[0].json
    assert (said["chat_id"], said["text"].partition("\n")[0]) == ("-100200", "[Failed] Bericht für dich")


async def test_no_secret_is_told_of_an_attempt_that_failed(posting: Posting, receiver: Receiver) -> None:
    port, bot = receiver.port, TelegramBot(posting, receiver.url, TOKEN)
    receiver.script(Reply(403), Reply(429, {"retry-after": "7"}))
    found = [await bot.send(a_message("7")), await bot.send(a_message("7"))]
    with Receiver().listening() as gone:
        pass
    found += [
        await TelegramBot(posting, gone.url, TOKEN).send(a_message("7")),
        await SlackWebhook(posting).send(a_message(f"{gone.url}/services/secret")),
        await TelegramBot(posting, gone.url, "").send(a_message("7")),
    ]

    assert [one.answer for one in found] == [Answer.REFUSED, *[Answer.FAILED] * 4]
    assert found[1].retry_after_s == 7
    assert not any(secret in one.words for one in found for secret in (TOKEN, "services", str(port)))
    assert TOKEN not in repr(bot)


async def test_a_webhook_is_signed_as_the_specification_says(posting: Posting, receiver: Receiver) -> None:
    url = f"{receiver.url}/hook?x=1"
    secret = KEY.secret_of(UserId("ann"), url)

    attempted = await SignedWebhook(posting, KEY).send(a_message(url))

    (got,) = receiver.got
    assert attempted == ACCEPTED
    assert (got.path, got.id) == ("/hook?x=1", "msg_9_1")
    assert verified(got, secret, now_s=time.time())
    assert not verified(got, KEY.secret_of(UserId("ben"), url), now_s=time.time())
    assert not verified(replace(got, body=got.body + b" "), secret, now_s=time.time())
    assert not verified(got, secret, now_s=time.time() + 301)


async def test_an_owners_address_leads_to_no_private_network(receiver: Receiver) -> None:
    http = HttpClient.open()
    guarded = Posting(http, SystemClock())

    found = [
        await SignedWebhook(guarded, KEY).send(a_message(f"{receiver.url}/hook")),
        await SlackWebhook(guarded).send(a_message(f"http://localhost:{receiver.port}/services/x")),
        await SignedWebhook(guarded, KEY).send(a_message("http://nowhere.invalid/hook")),
    ]
    await http.aclose()

    assert [one.answer for one in found] == [Answer.GONE, Answer.GONE, Answer.FAILED]
    assert receiver.got == []


async def test_no_redirect_is_followed(posting: Posting, receiver: Receiver) -> None:
    receiver.script(Reply(302, {"location": f"{receiver.url}/elsewhere"}))

    attempted = await SignedWebhook(posting, KEY).send(a_message(f"{receiver.url}/hook"))

    assert (attempted.answer, len(receiver.got)) == (Answer.REFUSED, 1)
