"""How many passwords are hashed at a time, and for whom."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from api.auth.verified import MAX_HASHING, VerifiedPasswords
from api.services import Services
from core.errors import TooManyRequests
from models.users import User


class SlowHash:
    """In place of `check_password`: takes until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.hashed: list[str] = []

    def __call__(self, user: User | None, password: str) -> bool:
        self.hashed.append(password)
        self.begun.release()
        assert self.go.wait(10)
        return password == "right"

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=10)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHash]:
    slow = SlowHash()
    monkeypatch.setattr("api.auth.verified.check_password", slow)
    yield slow
    slow.go.set()


@pytest.fixture
def user() -> User:
    return User(username="a", password="hash", is_active=True)


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_those_who_send_the_same_at_once_share_a_hash(slow: SlowHash, user: User, password: str) -> None:
    verified = VerifiedPasswords()

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(verified.check, user, password)
        slow.wait_for(1)
        others = [threads.submit(verified.check, user, password) for _ in range(7)]
        slow.go.set()

    assert {each.result() for each in (first, *others)} == {password == "right"}
    assert verified.remembers(user, password) is (password == "right")
    assert len(slow.hashed) == 1 or password == "wrong"  # of a wrong one nothing is remembered


def test_those_who_guess_leave_threads_to_others(slow: SlowHash, user: User) -> None:
    verified = VerifiedPasswords()

    with ThreadPoolExecutor(MAX_HASHING) as threads:
        guesses = [threads.submit(verified.check, None, str(number)) for number in range(MAX_HASHING)]
        slow.wait_for(MAX_HASHING)
        with pytest.raises(TooManyRequests):
            verified.check(user, "right")
        slow.go.set()

    assert [each.result() for each in guesses] == [False] * MAX_HASHING
    assert verified.check(user, "right")


def test_whoever_comes_then_is_told_to_come_again(
    slow: SlowHash, services: Services, api_url: str, make_user: Callable[..., User]
) -> None:
    user = make_user("right")

    with ThreadPoolExecutor(MAX_HASHING) as threads:
        for number in range(MAX_HASHING):
            threads.submit(services.verified_passwords.check, None, str(number))
        slow.wait_for(MAX_HASHING)
        answer = httpx.get(f"{api_url}/api/v2/me/", auth=(user.username, "right"))
        slow.go.set()

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert httpx.get(f"{api_url}/api/v2/me/", auth=(user.username, "right")).status_code == 200
