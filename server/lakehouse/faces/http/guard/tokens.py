"""Bearer tokens: who holds one, and what is open to them."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from lakehouse.config import Auth
from lakehouse.errors import InvalidInput, Unauthorized
from lakehouse.lake import access
from lakehouse.observe import Caller


@dataclass(frozen=True)
class Holder:
    """Somebody who may call: from this machine as `near`, from elsewhere as `far`."""

    near: Caller
    far: Caller
    user: AuthenticatedUser | None = None  # as the SDK knows them: MCP sessions are bound to it


class Tokens:
    """Every token of the settings. Without any, everybody is the same holder of none."""

    def __init__(self, settings: Auth) -> None:
        self._holders: list[tuple[bytes, Holder]] = []
        if settings.token:
            holder = _holder("auth.token", Caller(via="http", name="auth.token"))
            self._holders.append((_digest(b"Bearer " + settings.token.encode()), holder))
        for each in settings.tokens:
            caller = Caller(
                via="http",
                name=each.name,
                read_only=each.read_only,
                toolsets=frozenset(each.toolsets),
                profile=each.profile or None,
            )
            holder = _holder(f"auth.tokens.{each.name}", caller)
            self._holders.append((_digest(b"Bearer " + each.token.encode()), holder))
        self._anybody = None if self._holders else Holder(Caller(via="http"), Caller(via="http", remote=True))

    def holder(self, given: Sequence[bytes]) -> Holder:
        """Whose token the Authorization headers carry.

        The whole value is compared in a time that says nothing of the tokens. Raises Unauthorized for none, for
        several and for one that nobody holds.
        """
        if self._anybody is not None:
            return self._anybody
        found: Holder | None = None
        if len(given) == 1:
            digest = _digest(given[0])
            for known, holder in self._holders:
                if hmac.compare_digest(known, digest):
                    found = holder
        if found is None:
            said = "no token" if not given else "no token that is known here" if len(given) == 1 else "several tokens"
            raise Unauthorized(
                f"the request carries {said}.", fix="Send the header Authorization: Bearer <token>, once."
            )
        return found


def choosing(caller: Caller, given: Sequence[bytes]) -> Caller:
    """The caller with the profile that X-Lakehouse-Profile headers choose.

    Raises InvalidInput for several, and Forbidden for a caller whose token is bound to another.
    """
    names = {value.decode("latin-1").strip() for value in given}
    if len(names) > 1 or "" in names:
        raise InvalidInput("X-Lakehouse-Profile: one name is wanted.", fix="Send the header once, with a name.")
    return access.choosing(caller, *names) if names else caller


def _holder(name: str, near: Caller) -> Holder:
    # The SDK wants a token to tell sessions apart; the name does that and is no secret.
    user = AuthenticatedUser(AccessToken(token=name, client_id=name, scopes=[]))
    return Holder(near, replace(near, remote=True), user)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
