"""Checking a user name and a password, with a brake on guessing."""

import logging

from api.services import Services
from core.errors import TooManyRequests, Unauthenticated
from models.users import User, count_login_failures, find_user, forget_login_failures, record_login_failure

logger = logging.getLogger("forge.auth")


def check_credentials(services: Services, username: str, password: str, ip: str) -> User:
    """The user. In short transactions of its own, none of them open while the password is hashed.

    Raises Unauthenticated, TooManyRequests."""
    secrets = services.secrets
    with services.database.transaction() as session:
        user = find_user(session, username)
        if user is not None and services.verified_passwords.remembers(user, password):
            return user
        try:
            failures = count_login_failures(session, secrets, username, ip)
        except TooManyRequests:
            logger.warning("login of %.150r from %s refused: too many failures", username, ip)
            raise
    if not services.verified_passwords.check(user, password) or user is None:  # an unknown user costs a hash, too
        with services.database.transaction() as session:
            record_login_failure(session, secrets, username, ip)
        logger.warning("login of %.150r from %s failed", username, ip)
        raise Unauthenticated("Invalid username/password.")
    if failures:
        with services.database.transaction() as session:
            forget_login_failures(session, secrets, username, ip)
    return user
