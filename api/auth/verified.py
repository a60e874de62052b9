"""A short memory of verified passwords: clients that send Basic with every call pay for the hash once a minute."""

import hmac
import os
import threading
import time

from models.users import User, check_password

TTL = 60.0  # seconds
MAX_ENTRIES = 1000


class VerifiedPasswords:
    """Per process. Holds no password, and nothing that one could be computed from outside of this process.

    The stored hash is part of the key, so a changed password is forgotten at once."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._until: dict[bytes, float] = {}
        self._hashing = threading.Lock()  # one hash at a time: 19 MB each, and callers often send the same password

    def remembers(self, user: User | None, password: str) -> bool:
        return user is not None and user.is_active and self._until.get(self._key(user, password), 0) > time.monotonic()

    def check(self, user: User | None, password: str) -> bool:
        with self._hashing:
            if self.remembers(user, password):  # whoever was first has done the work
                return True
            if not check_password(user, password) or user is None:
                return False
            if len(self._until) >= MAX_ENTRIES:
                self._until.clear()
            self._until[self._key(user, password)] = time.monotonic() + TTL
            return True

    def _key(self, user: User, password: str) -> bytes:
        return hmac.digest(self._secret, f"{user.password}\0{password}".encode(), "sha256")
