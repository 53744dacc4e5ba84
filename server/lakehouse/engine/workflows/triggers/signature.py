"""Signatures of what is posted to hooks: `t=<seconds since 1970>,v1=<HMAC-SHA256 of "t.body", in hex>`."""

import hashlib
import hmac

HEADER = "X-Lakehouse-Signature"
FRESH_SECS = 300.0  # how far the sender's clock may be from ours
MIN_SECRET = 16  # characters
_NOBODYS = "a secret that signs nothing: unknown hooks take as long as known ones"


def signed(secret: str, body: bytes, at: int) -> str:
    """The header for a body that is sent at a moment."""
    return f"t={at},v1={_mac(secret, body, str(at))}"


def verified(secret: str | None, body: bytes, given: str, now: float) -> bool:
    """Whether a body was signed with the secret, within 5 minutes of now. It takes as long where there is none."""
    parts = dict(part.strip().partition("=")[::2] for part in given[:300].split(","))
    at, mac = parts.get("t", ""), parts.get("v1", "")
    usable = secret is not None and len(secret) >= MIN_SECRET
    wanted = _mac(secret if secret is not None and usable else _NOBODYS, body, at)
    same = hmac.compare_digest(wanted.encode(), mac.encode("utf-8", "replace"))
    fresh = at.isascii() and at.isdigit() and len(at) < 12 and abs(now - int(at)) <= FRESH_SECS
    return usable and same and fresh


def _mac(secret: str, body: bytes, at: str) -> str:
    return hmac.new(secret.encode(), at.encode("utf-8", "replace") + b"." + body, hashlib.sha256).hexdigest()
