"""What must never leave: credentials are cut out of summaries, command lines and messages."""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from lakehouse.config import Config, Storage
from lakehouse.engine import credentials
from lakehouse.errors import LakehouseError

CUT = 500
MARK = "[redacted]"
_DEEPEST = 20
_HUGE = 10**40
_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_SHORTEST = 4
_NAMES = re.compile(
    r"(token|password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|dsn|authorization|"
    r"credentials?|cookie)$",
    re.IGNORECASE,
)
# The user and password of a URL, libpq's spelling of the latter, and what makes a URL's query a signed one.
_SHAPES = re.compile(
    r"(?<=://)[^/\s@:\"']*:[^/\s@\"']+(?=@)|(?<=password=)[^\s&\"']+"
    r"|(?<=[?&])(?:[\w%-]*(?:token|signature|credential|secret|key(?:-?id)?)|sig|code|auth|pass|pwd)=[^\s&\"'#]+",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def secret_name(name: str) -> bool:
    """Whether an argument of this name holds a credential."""
    return _NAMES.search(name) is not None


class Redactor:
    """Cuts known credentials out of texts.

    Known are the values of environment variables whose names end in _KEY, _TOKEN, _SECRET or _PASSWORD and that are
    at least four characters long, read once; those of the variables in `names`; and `values`. A user and password
    inside a URL go, too.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, names: Collection[str] = (), values: Collection[str] = ()
    ) -> None:
        given = os.environ if environ is None else environ
        secret = (v for k, v in given.items() if k.upper().endswith(_ENDINGS) or k in names)
        known = {value for value in (*secret, *values) if len(value) >= _SHORTEST}
        self._known = sorted(known, key=len, reverse=True)
        # A credential that straddles the cut is seen whole.
        self._slack = max([100, *map(len, known)])

    def text(self, text: str, limit: int = CUT) -> str:
        """The first `limit` characters of a text, without credentials."""
        cut = self._cleaned(text[: limit + self._slack])
        return cut if len(cut) <= limit else cut[: limit - 1] + "…"

    def whole(self, value: Any) -> Any:
        """A text, or every text in lists and objects of JSON, without credentials; nothing is cut off."""
        if isinstance(value, str):
            return self._cleaned(value)
        if isinstance(value, dict):
            return {self.whole(name): self.whole(inner) for name, inner in value.items()}
        return [self.whole(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _cleaned(self, text: str) -> str:
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MARK)
        # The search for shapes costs 9 µs, looking for their beginnings 0.2.
        if "://" in text or "assword=" in text.lower():
            text = _SHAPES.sub(MARK, text)
        return text

    def summary(self, value: Any, limit: int = CUT) -> str:
        """The beginning of a value as JSON-like text, at most `limit` characters, without credentials.

        The time this takes does not grow with the value: it stops when there is enough.
        """
        pieces: list[str] = []
        _write(value, pieces, limit + self._slack, 0)
        return self.text("".join(pieces), limit)


def _write(value: Any, out: list[str], room: int, depth: int) -> int:
    """Append the value's text to `out` and return the room that is left; nothing is written when there is none."""
    if room <= 0:
        return room
    text = _scalar(value, room)
    if text is None:
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return _write_mapping(value, out, room, depth)
        if isinstance(value, list | tuple) and depth < _DEEPEST:
            return _write_list(value, out, room, depth)
        text = f"<{type(value).__name__}>"
    out.append(text)
    return room - len(text)


def _scalar(value: Any, room: int) -> str | None:
    # Exact types first: rows of small values are what most results are made of.
    kind = type(value)
    if kind is str:
        return f'"{value[:room]}"'
    if value is None:
        return "null"
    if kind is int:
        return repr(value) if -_HUGE < value < _HUGE else "<a huge number>"
    if kind is float:
        return repr(value)
    if kind is bool:
        return "true" if value else "false"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return None


def _write_list(value: Sequence[Any], out: list[str], room: int, depth: int) -> int:
    out.append("[")
    room -= 1
    for item in value:
        if room <= 0:
            return room
        text = _scalar(item, room)
        if text is None:
            room = _write(item, out, room, depth + 1) - 1
        else:
            out.append(text)
            room -= len(text) + 1
        out.append(",")
    if value:
        out.pop()
    out.append("]")
    return room - 1


def _write_mapping(value: Mapping[Any, Any], out: list[str], room: int, depth: int) -> int:
    out.append("{")
    room -= 1
    for name, item in value.items():
        if room <= 0:
            return room
        name = name[:room] if isinstance(name, str) else f"<{type(name).__name__}>"
        out.append(f'"{name}":')
        if item is not None and secret_name(name):
            item = MARK
        elif type(item) is str and "?" in item and name.lower().endswith("url"):
            item = f"{item.partition('?')[0]}?{MARK}"  # whatever its query calls a key
        room = _write(item, out, room - len(name) - 3, depth + 1) - 1
        out.append(",")
    if value:
        out.pop()
    out.append("}")
    return room - 1


def redactor_for(settings: Config) -> Redactor:
    """What cuts the credentials these settings hold or name out of texts before they leave.

    Blocking: it reads the secrets file.
    """
    tokens = [settings.auth.token, *(each.token for each in settings.auth.tokens)]
    return Redactor(
        names=[*_named_variables(settings), "AWS_ACCESS_KEY_ID"], values=[*tokens, *_of_buckets(settings.storage)]
    )


def _of_buckets(settings: Storage) -> list[str]:
    try:
        return credentials.read(settings.secrets).values()
    except LakehouseError:
        return []  # whoever uses the bucket is told why; nothing in there is known to anybody then


_TOKENS = ("LAKEHOUSE_AUTH__TOKEN", "LAKEHOUSE_AUTH__TOKENS")
_OF_PROVIDERS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN"),
}


# Where litellm looks for the key of a provider, when its name alone does not say so.
_OF_MODELS = {
    "bedrock": _OF_PROVIDERS["s3"],
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_TOKEN"),
    "gemini": ("GOOGLE_API_KEY",),
    "huggingface": ("HF_TOKEN",),
    "sagemaker": _OF_PROVIDERS["s3"],
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
    "vertex_ai": _OF_PROVIDERS["gs"],
    "watsonx": ("WATSONX_APIKEY", "WATSONX_TOKEN"),
}


def secret_variables(settings: Config) -> frozenset[str]:
    """The environment's variables, in upper case, that these settings take credentials from.

    Our own tokens, those that a setting names (`embed.api_key_env`), and of the providers whose buckets are in use,
    those that their libraries look for; so of the models that litellm asks.
    """
    urls = [settings.storage.url, *(bucket.url for bucket in settings.storage.buckets)]
    kinds = {url.partition("://")[0] for url in urls}
    providers = (name for kind in kinds for name in _OF_PROVIDERS.get(kind, ()))
    named = (name.upper() for name in _named_variables(settings))
    return frozenset((*_TOKENS, *named, *providers, *_keys_of_models(settings)))


def _keys_of_models(settings: Config) -> Iterator[str]:
    chat, embed, rerank = settings.chat, settings.embed, settings.rerank
    aliases = (alias.partition("=")[2] for alias in chat.aliases)
    for section, models in (
        (chat, (chat.model, chat.small, chat.medium, chat.large, *aliases)),
        (embed, (embed.model,)),
        (rerank, (rerank.model,)),
    ):
        for model in filter(None, models if section.provider == "litellm" else ()):
            # litellm knows some models by their name alone; theirs are these.
            families = [model.partition("/")[0]] if "/" in model else ["openai", "anthropic", "gemini", "cohere"]
            for family in families:
                name = family.removesuffix("_chat")
                yield from (f"{name.upper()}_API_KEY", *_OF_MODELS.get(name, ()))


def _named_variables(section: BaseModel) -> Iterator[str]:
    for name, value in section:
        if name.endswith("_key_env") and value:
            yield value
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, BaseModel):
                yield from _named_variables(inner)
