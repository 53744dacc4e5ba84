"""Lines that hold no message: each gets the answer its sender waits for, and nobody else's."""

import mcp_types as types
import pytest
from pydantic import ValidationError

from lakehouse.faces import lines

CALL = b'"method":"tools/call","params":{"name":"x","arguments":{"id":7,"note":"\\"id\\":8}"'


def answer(line: bytes) -> types.JSONRPCError | None:
    with pytest.raises(ValidationError) as failed:
        types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    return lines.refused(line, failed.value)


@pytest.mark.parametrize(
    ("line", "identifier", "code"),
    [
        (b"not json", None, types.PARSE_ERROR),
        (b"\xff\xfe\x00", None, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":3,' + CALL, 3, types.PARSE_ERROR),
        (b'{"id":"a b","jsonrpc":"2.0",' + CALL, "a b", types.PARSE_ERROR),
        (b"{" + CALL + b',"x":"\\ud83d"}},"jsonrpc":"2.0","id":4}', 4, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"n":' + b"9" * 5000 + b"}}", 5, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":6,"method":"x","params":{"d":' + b"[" * 10_000 + b"}", 6, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":6,"method":"x","params":{"t":"\xff"}}', 6, types.PARSE_ERROR),
        (b'{"jsonrpc":"1.0","id":9,"method":"ping"}', 9, types.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":true}', None, types.INVALID_REQUEST),
        (b"[]", None, types.INVALID_REQUEST),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, types.INVALID_REQUEST),
        (b"null", None, types.INVALID_REQUEST),
    ],
)
def test_a_refusal_names_the_request_where_it_can(line: bytes, identifier: object, code: int) -> None:
    refused = answer(line)
    assert refused is not None and (refused.id, refused.error.code) == (identifier, code)


@pytest.mark.parametrize(
    "line", [b'{"jsonrpc":"1.0","method":"gone"}', b'{"jsonrpc":"2.0","id":1,"result":5}', b'{"id":1,"error":"no"}']
)
def test_notifications_and_responses_are_not_answered(line: bytes) -> None:
    assert answer(line) is None


@pytest.mark.parametrize(
    ("line", "identifier"),
    [
        (b'{"jsonrpc": "2.0", "id": 3, ' + CALL + b"}}}", 3),
        (b"{" + CALL + b'}},"jsonrpc":"2.0","id":"four"}\n', "four"),
        (b"{" + CALL + b'}}, "id": 5, "jsonrpc": "2.0"}\r\n', 5),
        (b'{"jsonrpc":"2.0",' + CALL + b"}}}", None),
        (b"{" + CALL + b',"more":{"a":1,"id":9}}}}', None),
    ],
)
def test_the_id_of_an_over_long_line_stands_at_either_end(line: bytes, identifier: object) -> None:
    refused = lines.too_long(line[: lines.EDGE], line[-lines.EDGE :], 100)
    assert refused.id == identifier and "server.max_request_bytes" in refused.error.message


@pytest.mark.parametrize("identifier", ["null", "1.5", "true", '{"a": 1}', "[]"])
def test_a_request_with_an_id_of_no_kind_is_not_left_waiting(identifier: str) -> None:
    answered = lines.unanswerable(b'{"jsonrpc":"2.0","id":' + identifier.encode() + b',"method":"ping"}')
    assert answered is not None and answered.error.code == types.INVALID_REQUEST
    assert lines.unanswerable(b'{"jsonrpc":"2.0","method":"x","params":{"id":1,"said":"\\"id\\""}}') is None
