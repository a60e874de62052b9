"""A short memory of verified passwords: clients that send Basic with every call pay for the hash once a minute."""

import hmac
import os
import threading
import time
from concurrent.futures import Future

from core.errors import TooManyRequests
from models.users import User, check_password

TTL = 60.0  # seconds
MAX_ENTRIES = 1000
MAX_HASHING = 4  # passwords at a time, of 19 MB each: whoever guesses must leave threads and memory for the others


class VerifiedPasswords:
    """Per process. Holds no password, and nothing that one could be computed from outside of this process.

    The stored hash is part of the key, so a changed password is forgotten at once."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._until: dict[bytes, float] = {}
        self._hashing: dict[bytes, Future[bool]] = {}
        self._lock = threading.Lock()

    def remembers(self, user: User | None, password: str) -> bool:
        return user is not None and user.is_active and self._until.get(self._key(user, password), 0) > time.monotonic()

    def check(self, user: User | None, password: str) -> bool:
        """Callers often send the same password at once: the first does the work for all. Raises TooManyRequests."""
        key = self._key(user, password)
        with self._lock:
            if self.remembers(user, password):
                return True
            others = self._hashing.get(key)
            if others is None:
                if len(self._hashing) >= MAX_HASHING:
                    raise TooManyRequests("Too many passwords are being checked. Try again in a second.")
                mine = self._hashing[key] = Future()
        if others is not None:
            return others.result()
        try:
            right = check_password(user, password)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            if right:
                self._remember(key)
            mine.set_result(right)
            return right
        finally:
            with self._lock:
                del self._hashing[key]

    def _remember(self, key: bytes) -> None:
        if len(self._until) >= MAX_ENTRIES:
            self._until.clear()
        self._until[key] = time.monotonic() + TTL

    def _key(self, user: User | None, password: str) -> bytes:
        stored = user.password if user is not None and user.is_active else ""
        return hmac.digest(self._secret, f"{stored}\0{password}".encode(), "sha256")
