"""Take what was delivered to a task's webhook, and set the task off with it."""

import hashlib
import secrets
from dataclasses import dataclass, replace

from app.features.tasks.domain.payload import fill, read_payload
from app.features.tasks.domain.signatures import Delivery, SignatureInvalid, Verified, verify
from app.features.tasks.domain.task import Task, TaskType, Trigger
from app.features.tasks.domain.trigger import TriggerConfig
from app.features.tasks.domain.webhook import (
    RATE_PERIOD_S,
    Delivered,
    DeliveryReplayed,
    NotTriggered,
    TooManyDeliveries,
    WebhookDisabled,
    new_secret,
)
from app.features.tasks.ports import DeliveryStore, TaskStore
from app.features.tasks.use_cases.keep_secret import KeepSecret
from app.features.tasks.use_cases.start_task import StartTask
from app.infra.durable.ports import Engine
from app.kernel.clock import Clock
from app.kernel.ids import RunId, TaskId
from app.kernel.transaction import Begin
from app.kernel.values import Json

_NOBODYS_SECRET = new_secret()
"""what a delivery to no webhook is checked with, so that it takes as long as one to a webhook; no answer tells it"""


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a delivery: a run, or why it was skipped. `unknown` are places of the prompt with nothing in them.

    `is_repeated`: it was taken before, and this tells what became of it then.
    """

    run_id: RunId | None
    skipped: str | None = None
    unknown: tuple[str, ...] = ()
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class TakeDelivery:
    """Begin one run for one delivery, however often and however many at once it is sent.

    - The same id with the same body is the sender's next try: it is told of the run that the first one began. Under
      Standard Webhooks each try is signed anew, so the signature may be another one.
    - The same id with another body, or the same signature under another id, was not sent by who signed it.
    - What was signed more than five minutes ago is stale, whether or not it was seen before.
    - A delivery to a webhook that does not exist is answered as one that is badly signed, after the same work: who
      guesses ids learns nothing. That a task is not a triggered one is told to whoever knows its id: it has no secret
      to ask for, the id cannot be guessed, and the owner who mixed two of them up finds it out. Whether a webhook is
      disabled is told to those who know its secret.

    Errors: NotTriggered, SignatureInvalid, DeliveryStale, WebhookDisabled, PayloadUnreadable, DeliveryReplayed,
    TooManyDeliveries, SealBroken.
    """

    begin: Begin
    tasks: TaskStore
    secrets: KeepSecret
    deliveries: DeliveryStore
    start: StartTask
    engine: Engine
    clock: Clock

    async def __call__(self, task_id: TaskId, delivery: Delivery, *, request_id: str = "") -> Intake:
        async with self.begin() as tx:
            task = await self.tasks.find(tx, task_id)
            if task is not None and task.task_type is not TaskType.TRIGGERED:
                raise NotTriggered(f"Its type is {task.task_type.value}.")
            known = await self.secrets.read(tx, task_id)
        config = TriggerConfig.of(None if task is None else task.trigger_config)
        verified = verify(config.scheme, delivery, known or [_NOBODYS_SECRET], now_s=self.clock.time_s())
        if task is None or not known:
            raise SignatureInvalid
        if not task.enabled:
            raise WebhookDisabled("Its owner can enable it again.")
        payload = read_payload(delivery.headers.get("content-type", ""), delivery.body)
        intake = await self._take(task, config, _delivered(task_id, delivery, verified), payload, request_id)
        if intake.run_id is not None:
            await self.engine.dispatch(intake.run_id)
        return intake

    async def _take(self, task: Task, config: TriggerConfig, new: Delivered, payload: Json, request_id: str) -> Intake:
        objection = config.objection(payload)
        filled = fill(task.prompt, payload)
        async with self.begin() as tx:
            earlier = await self.deliveries.take(tx, new)
            if earlier is not None:
                return _repeated(new, earlier)
            if await self.deliveries.count(tx, task.id, within_s=RATE_PERIOD_S) > config.rate_per_minute:
                raise TooManyDeliveries(per_minute=config.rate_per_minute)
            if objection is not None:
                await self.deliveries.settle(tx, replace(new, skipped=objection))
                return Intake(None, objection)
            run_id = await self.start.put(
                tx,
                task,
                trigger=Trigger.WEBHOOK,
                prompt=filled.prompt,
                dedupe=f"webhook:{hashlib.sha256(f'{task.id} {new.key}'.encode()).hexdigest()}",
                request_id=request_id,
            )
            await self.deliveries.settle(tx, replace(new, run_id=run_id))
        return Intake(run_id, unknown=filled.unknown)


def _delivered(task_id: TaskId, delivery: Delivery, verified: Verified) -> Delivered:
    """Name a delivery by its sender's name of it; one that has none by what it proves; else it is like no other."""
    if verified.id is not None:
        key = f"id:{verified.id}"
    elif verified.proof is not None:
        key = f"proof:{verified.proof.hex()}"
    else:
        key = f"once:{secrets.token_hex(16)}"
    return Delivered(task_id, key, verified.proof, hashlib.sha256(delivery.body).digest())


def _repeated(new: Delivered, earlier: Delivered) -> Intake:
    """Errors: DeliveryReplayed."""
    if new.key != earlier.key:
        raise DeliveryReplayed("What it was signed for was delivered before, under another id.")
    if new.digest != earlier.digest:
        raise DeliveryReplayed("There was a delivery of this id, with another body.")
    return Intake(earlier.run_id, earlier.skipped, is_repeated=True)
