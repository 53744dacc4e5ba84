"""Bearer tokens, and settings that hold them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.errors import InvalidInput, Unauthorized
from lakehouse.faces.http.guard.tokens import Tokens


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"tokens": [{"name": "a", "token": "one"}, {"name": "a", "token": "two"}]}, "two tokens are called a"),
        ({"tokens": [{"name": "a", "token": "one"}, {"name": "b", "token": "one"}]}, "b and a have the same token"),
        ({"token": "one", "tokens": [{"name": "b", "token": "one"}]}, "b and auth.token have the same token"),
    ],
)
def test_tokens_that_cannot_be_told_apart(auth: dict[str, Any], said: str) -> None:
    overrides = {f"auth.{key}": value for key, value in auth.items()}
    with pytest.raises(InvalidInput, match=said) as refusal:
        config.read(overrides=overrides)
    assert "one" not in f"{refusal.value}".replace("none", "")


@pytest.mark.slow
@given(st.binary(max_size=60), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20))
def test_only_the_token_itself_opens(value: bytes, token: str) -> None:
    tokens = Tokens(config.Auth(token=token))
    right = b"Bearer " + token.encode()
    assert tokens.holder([right]).near.via == "http"
    for wrong in (value, b"Bearer " + value, right + b" ", right[:-1]):
        if wrong != right:
            with pytest.raises(Unauthorized):
                tokens.holder([wrong])
