"""Delete a key, and let go of those whose owner's tokens are withdrawn."""

from dataclasses import dataclass

from app.features.keys.domain import KeyNotFound, refuse_unattended
from app.features.keys.ports import KeyStore, Withdrawal
from app.kernel.api_keys import mark_of, read_mark
from app.kernel.audit import Act, AuditTrail
from app.kernel.identity import Principal
from app.kernel.ids import KeyId, UserId
from app.kernel.revocation import Mark, NewRevocation
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Refuse a key from now on, here at once and everywhere within a second, with all that was begun with it.

    By its owner, or an admin. Errors: KeyByKey, KeyNotFound.
    """

    begin: Begin
    store: KeyStore
    withdrawal: Withdrawal
    audit: AuditTrail

    async def __call__(self, who: Principal, key_id: KeyId) -> None:
        refuse_unattended(who)
        async with self.begin() as tx:
            key = await self.store.find(tx, key_id)
            if key is None or not (who.is_admin or key.owner == who.user_id):
                raise KeyNotFound
            if not await self.store.remove(tx, key_id):
                raise KeyNotFound
            refuse_here = await self.withdrawal.withdraw(tx, mark_of(key_id), by=who.user_id)
            await self.audit.record(tx, Act.of(who, "key.deleted", key_id, owner=key.owner, name=key.name))
        refuse_here()


@dataclass(frozen=True, slots=True)
class DropWithdrawn:
    """Remove the keys that a withdrawal of tokens means, in its transaction: it is forgotten one day, and lifted maybe;
    the keys stay gone.
    """

    store: KeyStore

    async def __call__(self, tx: Tx, withdrawn: NewRevocation) -> None:
        if withdrawn.mark is Mark.SUBJECT:
            await self.store.remove_of(tx, UserId(withdrawn.name), before=withdrawn.before)
            return
        key_id = read_mark(withdrawn.name)
        if key_id is not None:
            await self.store.remove(tx, key_id)
