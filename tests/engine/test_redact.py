"""Credentials do not leave, and a summary costs little whatever it is of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.engine.redact import CUT, MARK, Redactor, secret_name

SECRET = 's3cr3t/Value+with"quote'
ENVIRON = {"STORE_SECRET": SECRET, "MODEL_API_KEY": "key-12345678", "SHORT_TOKEN": "abc", "HOME": "/home/someone"}


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "password",
        "api_key",
        "apiKey",
        "API-KEY",
        "secret",
        "dsn",
        "Authorization",
        "auth_token",
        "aws_secret_access_key",
    ],
)
def test_names_of_credentials(name: str) -> None:
    assert secret_name(name)
    hidden = f'"{name}":"{MARK}"'
    assert Redactor({}).summary({name: "hunter2", "b": {name: ["hunter2"]}}) == f'{{{hidden},"b":{{{hidden}}}}}'


@pytest.mark.parametrize("name", ["max_tokens", "text", "key", "tokens", "name", "secretary", "passwords_file"])
def test_names_of_other_things(name: str) -> None:
    assert not secret_name(name)
    assert "visible" in Redactor({}).summary({name: "visible"})


@pytest.mark.parametrize("where", range(440, 520))
def test_known_credentials_never_show_even_at_the_cut(where: int) -> None:
    """S3.5: values of *_SECRET, *_KEY and *_TOKEN variables go, wherever the summary is cut."""
    redact = Redactor(ENVIRON)
    for text in (redact.text("x" * where + SECRET), redact.summary({"q": "x" * (where - 6) + SECRET + "y" * 99})):
        assert len(text) <= CUT
        for length in range(4, len(SECRET)):
            assert SECRET[:length] not in text
    assert redact.text("key-12345678 and abc and /home/someone") == f"{MARK} and abc and /home/someone"


def test_what_a_url_is_signed_with_goes() -> None:
    """Of an argument that is a URL the whole query; in other texts what is called like a credential."""
    redact = Redactor({})
    signed = "https://s3.x/b/o.csv?X-Amz-Credential=AKIA%2F1&X-Amz-Expires=60&X-Amz-Signature=ab12"
    assert redact.summary({"url": signed, "n": 1}) == f'{{"url":"https://s3.x/b/o.csv?{MARK}","n":1}}'
    assert redact.text(signed) == f"https://s3.x/b/o.csv?{MARK}&X-Amz-Expires=60&{MARK}"
    assert redact.text("see https://x/?sv=1&sig=a%2B, or") == f"see https://x/?sv=1&{MARK} or"
    assert "hunter" not in redact.summary({"url": "https://x/" + "y" * 480 + "?k=hunter22"})


def test_credentials_inside_urls_go() -> None:
    redact = Redactor({})
    assert redact.text("see postgres://joe:pa55@db:5432/x now") == f"see postgres://{MARK}@db:5432/x now"
    assert redact.text("host=db password=pa55 user=joe") == f"host=db password={MARK} user=joe"
    for plain in ("http://127.0.0.1:11434/api", "https://x/y?a=b@c", "a@b:c"):
        assert redact.text(plain) == plain


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ([True, False, 1, -2.5, "a", None], '[true,false,1,-2.5,"a",null]'),
        ({}, "{}"),
        ([], "[]"),
        ({"a": [], "b": {"c": ()}}, '{"a":[],"b":{"c":[]}}'),
        (b"abc", "<3 bytes>"),
        ({1: 2}, '{"<int>":2}'),
        (object(), "<object>"),
    ],
)
def test_summaries_read_like_json(value: Any, text: str) -> None:
    assert Redactor({}).summary(value) == text


def test_a_number_python_would_not_print_is_named() -> None:
    assert Redactor({}).summary([10**5000, -(10**5000)]) == "[<a huge number>,<a huge number>]"


class Counting(list[Any]):
    """A list that counts how many of its items were looked at."""

    seen = 0

    def __iter__(self) -> Any:
        for item in super().__iter__():
            self.seen += 1
            yield item


def test_a_summary_does_not_walk_the_whole_value() -> None:
    """S19.1: cut at 500 characters without serialising what is cut away."""
    rows = Counting([[n, "text"] for n in range(100_000)])
    assert len(Redactor({}).summary({"rows": rows})) == CUT
    assert rows.seen < 100
    assert len(Redactor({}).summary("x" * 20_000_000)) == CUT
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert "<list>" in Redactor({}).summary(nested)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
@pytest.mark.slow
def test_every_value_has_a_short_summary(value: Any) -> None:
    assert len(Redactor(ENVIRON).summary(value)) <= CUT
