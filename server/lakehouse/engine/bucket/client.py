"""How a remote service is reached: its address, credentials, limits of time and tries."""

import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lakehouse import config
from lakehouse.engine import credentials
from lakehouse.engine.bucket.keys import PRIMARY, check_key
from lakehouse.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

KINDS = ("s3", "gs", "az")
CONNECT_SECS = 3
_BULK = 6  # a part of an upload may take this many times longer: 8 MiB in a minute is a slow line
_RETRIES = 3
_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"


def setting_of(name: str) -> str:
    """The setting that says where a bucket is."""
    return "storage.url" if name == PRIMARY else f"storage.buckets {name}: url"


class Client:
    """Makes the library's stores for one bucket, each when it is first needed.

    Where the secrets file has no credentials for it, the library finds the provider's own: environment variables,
    then the machine's identity, renewed as they expire for as long as the process lives.
    """

    def __init__(self, url: str, name: str, settings: config.Storage, secret: str = "") -> None:
        parts, where = urlsplit(url), setting_of(name)
        if parts.scheme not in KINDS or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise InvalidInput(
                f"{where}: {parts.scheme or url!r} buckets are not supported, or there is no name in it.",
                fix="Use file:///folder, memory://, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
            )
        self.kind, self.name, self.settings = parts.scheme, name, settings
        self._secret = secret or name
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        if self.prefix:
            try:
                check_key(self.prefix)
            except InvalidInput as error:
                raise InvalidInput(f"{where}: its prefix: {error.detail}", fix=error.fix) from None
        # Azure sorts some accounts' folders before their files.
        self.sorted = self.kind != "az"
        self._stores: dict[tuple[bool, bool], ObjectStore] = {}
        self._making = threading.Lock()

    def store(self, *, retried: bool = True, bulk: bool = False) -> "ObjectStore":
        """The library's store: whether it retries by itself, and how long a request may go unanswered.

        Raises InvalidInput or Unavailable when the secrets file cannot be used.
        """
        with self._making:
            found = self._stores.get((retried, bulk))
            if found is None:
                found = self._stores[retried, bulk] = self._made(retried, bulk)
            return found

    def _made(self, retried: bool, bulk: bool) -> "ObjectStore":
        from obstore import store
        from obstore.exceptions import BaseError

        settings = self.settings
        given = credentials.read(settings.secrets).of(self.kind, self._secret)
        patience = timedelta(seconds=settings.timeout_secs * (_BULK if bulk else 1))
        limits: Any = {
            "prefix": self.prefix or None,
            "client_options": {
                "allow_http": settings.allow_http,
                "connect_timeout": timedelta(seconds=min(CONNECT_SECS, settings.timeout_secs)),
                # Of each wait for an answer or for more of it. The library's limit of a whole request is 30 s, which
                # a download of gigabytes is over.
                "read_timeout": patience,
                "timeout": timedelta(days=1),
            },
            "retry_config": {
                "max_retries": _RETRIES if retried else 0,
                "retry_timeout": patience,
                "backoff": {"max_backoff": timedelta(seconds=1)},
            },
        }
        if self.kind == "az" and "account_name" not in given and not os.environ.get(_ACCOUNT):
            raise Unavailable(
                f"bucket {self.name}: its storage account is not known.",
                fix=f"Set {_ACCOUNT}, or account_name in [az.{self._secret}] of the secrets file.",
            )
        make: Any = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}[self.kind]
        try:
            made: ObjectStore = make(self.bucket, **self._options(given), **limits)
            return made
        except (BaseError, ValueError):  # its message may quote a credential
            raise Unavailable(
                f"bucket {self.name}: its {self.kind}:// credentials or address cannot be used.",
                fix="Check storage.url, storage.endpoint, storage.region and the credentials.",
            ) from None

    def _options(self, given: dict[str, str]) -> dict[str, Any]:
        endpoint = self.settings.endpoint
        if self.kind != "s3":
            return given | ({{"gs": "base_url", "az": "endpoint"}[self.kind]: endpoint} if endpoint else {})
        # One DELETE each: not every service knows the bulk form.
        found: dict[str, Any] = {"disable_bulk_delete": True}
        if self.settings.region:
            found["region"] = self.settings.region
        if endpoint:
            # Both: a variable of the second name would win over the first.
            found |= dict.fromkeys(("endpoint", "aws_endpoint_url_s3"), endpoint)
            found["virtual_hosted_style_request"] = False
        if given and "session_token" not in given and any(n in os.environ for n in ("AWS_SESSION_TOKEN", "AWS_TOKEN")):
            # A session's token from the environment belongs to other keys, and no option takes it away.
            keys = {**given, "token": None, "expires_at": None}
            return found | {"credential_provider": lambda: keys}
        return found | given
