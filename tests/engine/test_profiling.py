"""Signs of personal data, and cards of many and of wide tables."""

import hypothesis
import hypothesis.strategies as st
import pytest

from lakehouse.engine.manifests import Column, Manifest
from lakehouse.engine.profiling import ColumnFacts, Common, Profile, card
from lakehouse.engine.profiling.pii import hints, masked


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a.b@example.org", "email"),
        ("+49 30 1234567", "phone"),
        ("(555) 123-4567", "phone"),
        ("4111 1111 1111 1111", "card"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("192.168.0.1", "ip"),
        ("2001:db8::1", "ip"),
        ("078-05-1120", "ssn"),
        ("4111 1111 1111 1112", None),
        ("DE89370400440532013001", None),
        ("2024-01-31", None),
        ("31.01.2024", None),
        ("12345678", None),
        ("1.2345678", None),
        ("53-7051.00", None),
        ("hello", None),
    ],
)
def test_values(value: str, kind: str | None) -> None:
    assert [hint.kind for hint in hints("c", [value])] == ([kind] if kind else [])


def test_headers_and_masks() -> None:
    assert [(h.kind, h.by) for h in hints("First Name", ["Bo"])] == [("name", "header")]
    assert hints("product_name", ["Bo"]) == [] and hints("phone", ["4111"], number=True)[0].by == "header"
    assert masked("bo@x.org") == "b***" and masked("bo") == "***"


def table(name: str, columns: int, text: str) -> tuple[Manifest, Profile]:
    made = [Column(f"c{n}", "string") for n in range(columns)]
    manifest = Manifest("", name, 1, "", (), 10, tuple(made), {}, {}, "", "", "primary")
    facts = [
        ColumnFacts(
            name=c.name, type="VARCHAR", nulls=1, distinct=2, samples=[text], common=[Common(value=text, count=5)]
        )
        for c in made
    ]
    return manifest, Profile(name=name, version=1, row_count=10, columns=facts)


@pytest.mark.slow
@hypothesis.given(st.integers(1, 60), st.integers(1, 60), st.integers(400, 4000), st.text(max_size=60))
@hypothesis.settings(max_examples=40)
def test_a_card_keeps_to_its_budget_whatever_is_in_it(tables: int, columns: int, room: int, text: str) -> None:
    made = [table(f"t{n}", columns, text) for n in range(tables)]
    shown = card([manifest for manifest, _ in made], {p.name: p for _, p in made}, room)
    assert len(shown) <= room and "t0: 10 rows" in shown
    known = ("Tables for", "t", "  c", "  …", "  t", "Likely joins:", "Left out", "… and", "")
    assert all(line.startswith(known) for line in shown.splitlines())


def test_a_wide_table_is_cut_and_that_is_said() -> None:
    manifest, profile = table("wide", 1000, "x")
    shown = card([manifest], {"wide": profile}, 8_000)
    assert len(shown) <= 8_000 and "more columns: DESCRIBE wide" in shown and "Left out" in shown
    assert "1000 columns" in shown and "c999 VARCHAR" in card([manifest], {}, 40_000)
