"""What the slice adds to the container. It asks others for the database, hints, `Begin`, the audit and receipts."""

from functools import partial

from dishka import Provider, Scope, provide, provide_all

from app.features.notifications.clients.email import SmtpEmail, SmtpServer
from app.features.notifications.clients.posting import Posting
from app.features.notifications.clients.slack import SlackWebhook
from app.features.notifications.clients.telegram import TelegramBot
from app.features.notifications.clients.webhook import SignedWebhook
from app.features.notifications.domain.config import Reach
from app.features.notifications.domain.news import Channel
from app.features.notifications.domain.signing import SigningKey
from app.features.notifications.ports import Notifications, Outbox, Sender
from app.features.notifications.repository.notifications import PostgresNotifications
from app.features.notifications.repository.outbox import PostgresOutbox
from app.features.notifications.repository.watch import DeliveryWatch
from app.features.notifications.use_cases.deliver_due import DeliverDue
from app.features.notifications.use_cases.list_notifications import ListNotifications
from app.features.notifications.use_cases.notify import Notify
from app.features.notifications.use_cases.read_notification import ReadAll, ReadNotification
from app.features.notifications.use_cases.resend_notification import ResendNotification
from app.features.notifications.use_cases.send_test import SendTest
from app.infra.db.engine import Database
from app.infra.db.hints import LOOK, PostgresHints
from app.infra.http_client.client import HttpClient
from app.infra.observability.background import Background
from app.infra.observability.health import HealthRegistry
from app.infra.observability.siblings import Siblings
from app.kernel.clock import Clock
from app.settings import Settings

CHANNEL = "portico_notifications"
"""of hints: something is due"""


class NotificationStores(Provider):
    """What every process needs that may end a run; by port, so that a provider after this replaces it."""

    scope = Scope.APP

    notify = provide(Notify)
    notifications = provide(PostgresNotifications, provides=Notifications)

    @provide
    def outbox(self, database: Database, hints: PostgresHints) -> Outbox:
        return PostgresOutbox(database, partial(hints.send, CHANNEL, LOOK))

    @provide
    def watch(self, database: Database, health: HealthRegistry, siblings: Siblings) -> DeliveryWatch:
        watch = DeliveryWatch(database)
        health.add("outbox", "notifications", watch.check)
        siblings.sources.add(watch.families)
        return watch

    @provide
    def key(self, settings: Settings) -> SigningKey:
        return SigningKey(settings.notification_secret)

    @provide
    def reach(self, settings: Settings) -> Reach:
        return Reach(
            email=bool(settings.smtp_host),
            slack=bool(settings.slack_webhook_url),
            telegram=bool(settings.telegram_bot_token),
            webhook=bool(settings.notification_secret),
        )


class NotificationsProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    use_cases = provide_all(ListNotifications, ReadAll, ReadNotification, ResendNotification, SendTest)


class NotificationsAtWork(Provider):
    """Who sends, where runs are worked on."""

    scope = Scope.APP

    @provide
    def deliver(
        self,
        outbox: Outbox,
        http: HttpClient,
        hints: PostgresHints,
        clock: Clock,
        key: SigningKey,
        background: Background,
        settings: Settings,
    ) -> DeliverDue:
        posting = Posting(http, clock, settings.notification_networks)
        senders: dict[Channel, Sender] = {
            Channel.EMAIL: SmtpEmail(_server(settings)),
            Channel.SLACK: SlackWebhook(posting, settings.slack_webhook_url),
            Channel.TELEGRAM: TelegramBot(posting, settings.telegram_api_url, settings.telegram_bot_token),
            Channel.WEBHOOK: SignedWebhook(posting, key),
        }
        deliver = DeliverDue(outbox, senders, clock)
        hints.hear(CHANNEL, lambda _: deliver.hear())
        background.add("notifications", deliver.work)
        return deliver


def _server(settings: Settings) -> SmtpServer:
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        tls=settings.smtp_tls,
        sender=settings.smtp_from,
        username=settings.smtp_username,
        password=settings.smtp_password,
        ca=settings.smtp_ca,
    )
