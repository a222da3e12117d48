"""What the console signs: sessions, and ids of its own tasks and datasets, so that nobody can name another's.

Nothing of it is stored: whoever has the secret can check it, so several consoles and a restarted one agree.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256

_MARK = 20


class Signer:
    """Signs with one secret. Every purpose has a key of its own. Pure but for the randomness of new ids."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def new_id(self, kind: str, project: str) -> str:
        """Return the id of a new task or dataset (``kind``) of a project; :meth:`is_ours` knows it again."""
        chance = secrets.token_hex(10)
        return f"{kind}-{chance}-{self._sign('id', kind, project, chance)}"

    def is_ours(self, kind: str, project: str, id_: str) -> bool:
        """Return whether :meth:`new_id` made this id for this project."""
        parts = id_.split("-")
        if len(parts) != 3 or parts[0] != kind:
            return False
        return _equal(parts[2], self._sign("id", kind, project, parts[1]))

    def session(self, name: str, expires: int) -> str:
        """Return a cookie that says who signed in, until ``expires`` (Unix seconds)."""
        who = urlsafe_b64encode(name.encode()).decode()
        return f"{who}.{expires}.{self._sign('session', name, str(expires))}"

    def name_of(self, session: str, now: float) -> str | None:
        """Return who signed in, or None where the cookie was changed or its time is over."""
        parts = session.split(".")
        if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) < 13):
            return None
        try:
            name = urlsafe_b64decode(parts[0]).decode()
        except (Base64Error, ValueError):
            return None
        genuine = _equal(parts[2], self._sign("session", name, parts[1]))
        return name if genuine and now < int(parts[1]) else None

    def _sign(self, *parts: str) -> str:
        said = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self._secret, said.encode(), sha256).hexdigest()[:_MARK]


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
