"""The one error tree. A message is safe to show to the caller; the API renders it, activities translate it.

ForgeError                500  error
├── Invalid               400  invalid            bad input; `fields` holds messages
├── Unauthenticated       401  unauthenticated
├── Forbidden             403  forbidden
├── NotFound              404  not_found
├── NotAllowed            405  not_allowed        right object, wrong state for this action
├── Conflict              409  conflict
├── TooManyRequests       429  too_many_requests
├── Refused               403  refused            a gate (quota, policy, scanner) says no; may carry 429
├── DecryptionError       500  decryption         a secret was encrypted with another key; says which and what to do
├── Unavailable           503  unavailable        a server we stand on is not there; says which and what to do
└── StartupError          -    startup            a process cannot start; one sentence saying what and what to do
"""

from collections.abc import Mapping, Sequence


class ForgeError(Exception):
    status = 500
    code = "error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class Invalid(ForgeError):
    """Bad input. `fields` maps a field (or `__all__`, the object) to its messages; without it, `message` is shown."""

    status = 400
    code = "invalid"

    def __init__(self, message: str = "", fields: Mapping[str, Sequence[str]] | None = None) -> None:
        self.fields: dict[str, list[str]] = {name: list(messages) for name, messages in (fields or {}).items()}
        super().__init__(message or "; ".join(f"{k}: {' '.join(v)}" for k, v in self.fields.items()))


class Unauthenticated(ForgeError):
    status = 401
    code = "unauthenticated"


class Forbidden(ForgeError):
    status = 403
    code = "forbidden"

    def __init__(self, message: str = "You do not have permission to perform this action.") -> None:
        super().__init__(message)


class NotFound(ForgeError):
    status = 404
    code = "not_found"


class NotAllowed(ForgeError):
    status = 405
    code = "not_allowed"


class Conflict(ForgeError):
    status = 409
    code = "conflict"


class TooManyRequests(ForgeError):
    """`retry_after` is in seconds."""

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str = "", retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(ForgeError):
    """A gate did not let a launch pass. `reasons` are its own words, one each."""

    code = "refused"

    def __init__(self, status: int, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.status = status
        self.reasons = list(reasons)


class DecryptionError(ForgeError):
    code = "decryption"


class Unavailable(ForgeError):
    status = 503
    code = "unavailable"


class StartupError(ForgeError):
    code = "startup"
