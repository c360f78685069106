"""Every module that has tables: imported, so that the metadata knows them. One that is missing here is dropped by the
next migration that is drawn from the difference.
"""

from types import ModuleType

from app.features.approvals import tables as approvals
from app.features.attachments import tables as attachments
from app.features.audit import tables as audit
from app.features.chats import tables as chats
from app.features.keys import tables as keys
from app.features.memory import tables as memory
from app.features.notifications import tables as notifications
from app.features.tasks import tables as tasks
from app.features.usage import tables as usage
from app.features.widgets import tables as widgets
from app.infra.db import keyed_requests, quotas, revocations
from app.infra.durable import signing_keys
from app.infra.durable import tables as durable
from app.infra.events import tables as events

TABLES: tuple[ModuleType, ...] = (
    approvals,
    attachments,
    audit,
    chats,
    durable,
    events,
    keyed_requests,
    keys,
    memory,
    notifications,
    quotas,
    revocations,
    signing_keys,
    tasks,
    usage,
    widgets,
)
