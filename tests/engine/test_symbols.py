"""Symbols of source texts: what each language defines and imports, of fragments and under misleading names too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.engine.chunks import chunk
from lakehouse.engine.symbols import LANGUAGES, Symbols, language_of, parse, symbols

CONNECTOR = """use catalogd::Registry;
pub struct Connector {
    registry: Registry,
}
impl Connector {
    pub fn open(bucket: Bucket) -> Connector {
        todo!()
    }
}
"""
RUST = """use a::{B, C as D, e::{self, F}, g::*};
pub use x::y as _;
use super::*;
extern crate foo;
#[derive(Debug)]
enum E { A }
macro_rules! mm { () => {} }
mod inner { pub(crate) async fn t() { fn local() {} } }
impl<T> fmt::Display for a::S<T> { const N: u8 = 1; type O = u8; fn fmt(&self) {} }
trait Q { fn sig(); }
static ONE: u8 = 1;
"""
TYPESCRIPT = """import D, { A, B as C } from "x"; import * as ns from 'y'; import type { T } from "z"; import "side";
import q = require("q");
const { r1, r2: r3 } = require("r");
export { z as zz } from "./z";
export default class Foo<T> extends Bar { x = 1; handler = () => { const inner = 2; }; constructor() {} #p() {} }
export const arrow = async (a) => { const local = 1 }, two = 2;
export function f() { function g() {} }
interface I { m(): void; p: string } type U = 1; enum E { A } namespace N { export const inN = 1 }
declare function dd(): void; abstract class AC { abstract am(): void }
let [a1, { b1, c1: d1 }] = x;
"""
PYTHON = """import os.path, numpy as np
from a.b import (c, d as e,)
from x import *
from . import y
from __future__ import annotations
A, B = 1, 2
C: int = 3
type T = int
@dec
class K(Base):
  field: int = 2
  def __init__(self): pass
  async def m(self):
    import json
    local = 1
if True:
  def g(): pass
self.z = 2
"""
GO = """package main
import (
  "fmt"
  h "net/http"
  _ "x/y"
  . "dot/it"
  "github.com/a/b/v2"
  "gopkg.in/yaml.v3"
)
type (
  A struct{ x int }
  B interface{ M() }
)
const (
  C = iota
  D
)
var e, f = 1, 2
func (s *A[T]) Open() error { var local int; return nil }
func Run() {}
"""
WHOLE = [
    ("crates/queryd/src/db.go", CONNECTOR, "rust", "Connector open", "Registry"),
    ("db.rs", CONNECTOR, "rust", "Connector open", "Registry"),
    ("a.rs", RUST, "rust", "E mm inner t N O fmt Q sig ONE", "B D e F g foo"),
    (
        *("a.ts", TYPESCRIPT, "typescript"),
        "Foo handler #p arrow two f I m U E N inN dd AC am a1 b1 d1",
        "D A C ns T q r1 r3 zz",
    ),
    ("a.py", PYTHON, "python", "A B C T K m g", "path np c e x y json"),
    ("m.go", GO, "go", "A B C D e f Open Run", "fmt h it b yaml"),
    ("a.jsx", "export const App = () => <div>{x}</div>;\nclass V {}", "tsx", "App V", ""),
]
FRAGMENTS = [
    (
        "x.rs",
        "        todo!()\n    }\n\n    pub fn close(self) {}\n}\n\npub struct Next {\n    a: u8,",
        "close Next",
        "",
    ),
    ("x.rs", "use a::{B,\n  C as D", "", "B D"),
    (
        "x.ts",
        "  async close(): Promise<void> {\n  }\n}\n\nexport class Foo {\n  bar() {\n    if (x) {",
        "close Foo bar",
        "",
    ),
    ("x.ts", "import { a,\n b", "", "a b"),
    ("x.py", "    return x\n\ndef later(a,\n", "later", ""),
    ("x.py", "from a import (b,\n  c", "", "b c"),
    ("x.go", 'import (\n "fmt"\n "net/http"', "", "fmt http"),
]


@pytest.mark.parametrize(("path", "text", "language", "defined", "imported"), WHOLE, ids=[case[0] for case in WHOLE])
def test_what_is_defined_and_imported(path: str, text: str, language: str, defined: str, imported: str) -> None:
    """A-S15-1, A-S15-2: the symbols a focus defines and imports; Rust under the name of a Go file is Rust."""
    found = symbols(text, path)
    assert (found.language, found.defined, found.imported) == (
        language,
        tuple(defined.split()),
        tuple(imported.split()),
    )
    crlf = symbols(text.replace("\n", "\r\n"), path)
    assert (crlf.defined, crlf.imported) == (found.defined, found.imported)


@pytest.mark.parametrize(("path", "text", "defined", "imported"), FRAGMENTS, ids=[case[1][:16] for case in FRAGMENTS])
def test_fragments(path: str, text: str, defined: str, imported: str) -> None:
    """A-S15-2: text that is torn at both ends still tells."""
    found = symbols(text, path)
    assert (found.defined, found.imported) == (tuple(defined.split()), tuple(imported.split()))


def test_the_language_is_the_one_the_text_is_in() -> None:
    named = {"py": "python", "golang": "go", "javascript": "tsx", "RS": "rust"}
    assert {name: language_of("", language=name) for name in named} == named
    for text, language in ((CONNECTOR, "rust"), (PYTHON, "python"), (GO, "go"), (TYPESCRIPT, "typescript")):
        assert language_of(text) == language
        assert language_of(text, "notes.md") == language
        assert language_of(text, "wrong.py", "go") == language
    prose = "The retrieval plane. Use it to open a class of files; import them from there (see below)."
    assert symbols(prose, "README.md") == symbols(prose) == symbols("", "README.md")
    assert symbols(prose).language is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.sampled_from(LANGUAGES))
def test_any_text_has_an_answer(text: str, language: str) -> None:
    found = symbols(text, language=language)
    assert len(set(found.defined)) == len(found.defined) and len(set(found.imported)) == len(found.imported)
    assert all(name in text for name in (*found.defined, *found.imported))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ("(" * 50_000, "use a::{" * 4_000, "import {a, " * 4_000, "fn a(){" * 4_000, "\0" * 50_000)
)
def test_hostile_texts_end(text: str) -> None:
    """Their time is linear; what is quadratic in one of these runs into the test's limit."""
    for language in LANGUAGES:
        assert len(symbols(text, language=language).defined) <= 1


def test_what_a_grammar_makes_no_sense_of_is_given_up() -> None:
    """A parser that looks for what was meant takes minutes for these; the work is counted, so that all end alike."""
    text = "| a |\n" + "|-" * 1_500
    assert parse(text.encode(), "python") is None
    assert symbols(text, "a.py") == Symbols()
    assert [piece.text for piece in chunk("code", text, path="a.py", max_chars=20_000)] == [text]
    code = "def f(a):\n    return a\n" * 2000
    assert symbols(code, "a.py").defined == ("f",)
