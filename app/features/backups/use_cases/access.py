"""Who may make backups and bring them back: they hold everybody's chats."""

from app.features.backups.domain.backup import BackupByAgent
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal


def refuse_others(who: Principal) -> None:
    """Errors: Forbidden, BackupByAgent."""
    if not who.is_admin:
        raise Forbidden("Only an admin may do this.")
    if who.acting is not None:
        raise BackupByAgent("Have a person do it.")
