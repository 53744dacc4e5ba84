"""What goes over a connection: the kinds of frames, and what is in them as JSON.

The host begins with a hello (on TCP only after the guest's secret). Then a guest asks, one request at a time; the host
answers with any number of progress frames and one result, download or problem, or that it is going and has not begun.
A guest that closes the connection cancels what it asked for.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from lakehouse.attach.line import MAX_FRAME
from lakehouse.errors import InvalidInput, LakehouseError, NotFound, TooLarge, by_code
from lakehouse.observe import Caller
from lakehouse.preview import scrubbed
from lakehouse.transfer import Upload

PROTOCOL = 1  # another number: the two do not understand each other, but for the hello
HELLO, SECRET, ASK, PROGRESS, RESULT, DOWNLOAD, PROBLEM, GOING = b"H", b"S", b"A", b"P", b"R", b"D", b"E", b"G"


@dataclass(frozen=True)
class Asked:
    """One call as a guest sends it. With a `limit` the result is fitted to so many bytes."""

    name: str
    arguments: Any
    caller: Caller
    upload: Upload | None = None
    limit: int | None = None


class UnknownCapability(NotFound):
    """The owner of the data directory has no capability of that name."""


class There(Exception):
    """What caused an error in the owner's process, in words."""


def packed(request: Asked) -> bytes:
    """A request as JSON. Raises InvalidInput for arguments JSON cannot hold, TooLarge for more than a frame takes."""
    caller = vars(request.caller) | {"toolsets": sorted(request.caller.toolsets)}
    upload = None if request.upload is None else request.upload.model_dump(mode="json")
    body = {**vars(request), "caller": caller, "upload": upload}
    try:
        text = _exact(body)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        try:
            text = _exact(scrubbed(body))  # half a character, perhaps
        except (PydanticSerializationError, ValueError, RecursionError):
            raise InvalidInput(
                f"the arguments cannot be sent to the process that owns the data directory: {error}.",
                fix="Give values JSON has: texts, numbers, lists and objects.",
            ) from None
    if len(text) > MAX_FRAME:
        raise TooLarge(
            f"the arguments have {len(text)} bytes as JSON; at most {MAX_FRAME} reach the process that owns the data "
            "directory.",
            fix="Put the data into a file and give its path.",
        )
    return text


def unpacked(payload: bytes) -> Asked:
    """A request of JSON. Raises InvalidInput when it is none."""
    try:
        return _asked().validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(f"the request is malformed: {first['loc']}: {first['msg'][:200]}.") from None


def result(value: Any) -> bytes:
    """A result as JSON that reads back as it was, NaN included."""
    return _exact(value)


def problem(error: LakehouseError, clean: Callable[[str], str]) -> bytes:
    """An error as JSON, with the words of what caused it as `clean` leaves them."""
    cause = error.__cause__
    return to_json(
        {
            "code": error.code,
            "detail": error.detail,
            "fix": error.fix,
            "data": error.data,
            "retry_after": error.retry_after,
            "unknown": isinstance(error, UnknownCapability),
            "cause": None if cause is None else clean(f"{type(cause).__name__}: {scrubbed(str(cause))}"[:2000]),
        },
        fallback=repr,
    )


def raised(payload: bytes) -> LakehouseError:
    """An error of JSON: its class is that of its code, for subclasses without one that of their base."""
    found = from_json(payload)
    said = found["detail"], {"fix": found["fix"], "data": found["data"]}
    error = UnknownCapability(said[0], **said[1]) if found["unknown"] else by_code(found["code"], said[0], **said[1])
    error.retry_after = found["retry_after"]
    if found["cause"] is not None:
        error.__cause__ = There(found["cause"])
    return error


def hello(about: Mapping[str, Any]) -> bytes:
    """Who answers here, and in which protocol."""
    return to_json({"protocol": PROTOCOL, **about})


@functools.cache
def _asked() -> TypeAdapter[Asked]:
    return TypeAdapter(Asked)


def _exact(value: Any) -> bytes:
    return to_json(value, inf_nan_mode="constants")
