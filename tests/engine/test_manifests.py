"""What a manifest is made of: names, keys, ids, fingerprints, and the form on disk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.catalog import COLUMNS, GOLDEN

from lakehouse.engine.datasets import (
    Column,
    EmptyFingerprint,
    check_name,
    data_key,
    dataset_id,
    fingerprint,
)
from lakehouse.engine.manifests import BadManifest, decoded, folder_of, manifest_key, version_of
from lakehouse.engine.storage import check_key
from lakehouse.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("workers", "4ee908eb-05e4-5c26-a4ad-4ca54bb01062"),
        ("candidates", "d1fe2e25-da42-5599-b911-f56f6631569a"),
        ("people", "54eb9062-488a-5c80-9ade-2bd63f8dc68c"),
    ],
)
def test_ids_are_the_same_everywhere(name: str, expected: str) -> None:
    """A-S6-2."""
    assert dataset_id(name) == expected


def test_the_fingerprint_is_the_golden_one() -> None:
    """S7.6 golden; A-S7-2: `a,b` and two columns `a`, `b` differ; order and type count."""
    assert fingerprint(COLUMNS) == GOLDEN
    variants = [
        (Column("a,b", "string"),),
        (Column("a", "string"), Column("b", "string")),
        (Column("b", "string"), Column("a", "string")),
        (Column("a", "string"), Column("b", "int64")),
        (Column("a", "stringb"), Column("", "string")),
    ]
    assert len({fingerprint(columns) for columns in variants}) == len(variants)
    with pytest.raises(EmptyFingerprint):
        fingerprint([])


@pytest.mark.parametrize("name", ["orders", 'o\'brien "x"', "a b", "ünï コード", "50%", "x#12", "...", "a" * 128, "-"])
def test_names_that_are_fine(name: str) -> None:
    assert check_name(name) == name
    check_key(manifest_key(folder_of(name), 1))
    check_key(data_key(name, GOLDEN, GOLDEN))


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a\nb", "a\x00", ".", "..", "_x", "a" * 129, "é" * 65, "\ud800"])
def test_names_that_are_not(name: str) -> None:
    """S6.8."""
    with pytest.raises(InvalidInput, match="name"):
        check_name(name)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("plain", "plain"),
        ("a b", "a%20b"),
        ("o'brien", "o%27brien"),
        ("50%", "50%25"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("a+b", "a%2Bb"),
    ],
)
def test_keys_escape_names(name: str, folder: str) -> None:
    """A-S7-6: six cases of escaping, and the shape of a data file's key."""
    assert data_key(name, "f" * 64, "a" * 64) == f"datasets/{folder}/{'f' * 64}-{'a' * 64}.parquet"
    assert manifest_key(folder_of(name), 7) == f"_catalog/{folder}/00000000000000000007.json"


@given(st.lists(st.text(min_size=1, max_size=128), min_size=2, max_size=2, unique=True))
def test_every_legal_name_has_a_key_of_its_own(names: list[str]) -> None:
    """Names of any script fit the 255 bytes file systems give a name, however long their escapes are."""
    try:
        folders = [folder_of(check_name(name)) for name in names]
    except InvalidInput:
        return
    assert folders[0] != folders[1]
    for folder in folders:
        assert version_of(check_key(manifest_key(folder, 3))) == (folder, 3)


def test_long_names_are_cut_with_a_hash() -> None:
    names = ["漢" * 42, "漢" * 41 + "字", "'" * 128, "'" * 127 + '"']
    folders = [folder_of(name) for name in names]
    assert len(set(folders)) == 4
    assert all(len(folder) == 200 and "=" in folder for folder in folders)


def test_decoding_never_fails_in_another_way() -> None:
    for data in (b"null", b"[]", b'{"checksum": 1}', b'{"format": 1, "checksum": ""}', b"\x80", b'"x"'):
        with pytest.raises(BadManifest):
            decoded(data)
