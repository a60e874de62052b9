"""What the handlers of one server process share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.auth.verified import VerifiedPasswords
from core.crypto import Secrets
from core.db import Database
from core.settings import Settings

if TYPE_CHECKING:
    from api.runs import Runs


@dataclass
class Services:
    settings: Settings
    database: Database
    secrets: Secrets
    runs: "Runs"
    verified_passwords: VerifiedPasswords = field(default_factory=VerifiedPasswords)
