"""PDF to Parquet: a row for each page, {doc_id, source_name, page, text}."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lakehouse.engine import files
from lakehouse.engine.ingest import spool
from lakehouse.engine.ingest.engine import Engine, Table
from lakehouse.engine.ingest.memory import bound
from lakehouse.engine.ingest.plain import Limits
from lakehouse.errors import InvalidInput, LakehouseError, NotInstalled, TooLarge

COLUMNS = ("doc_id", "source_name", "page", "text")
_SHOWN = 10


def ingest(engine: Engine, limits: Limits, types: Mapping[str, str], held: Mapping[str, str], name: str) -> Table:
    """Write a row for each page: the file's SHA-256, the name it came under, the page from 1 and its text.

    A page without text, as of a scan, has an empty one, and a warning says so. A document that opens without a
    password is read, whatever else its owner locked.

    Raises NotInstalled without the extra, InvalidInput for a damaged or encrypted file, TooLarge.
    """
    try:
        import pypdf
    except ImportError:
        raise NotInstalled(
            "reading PDF takes pypdf.", fix="Install the extra: pip install 'lakehouse-mcp[pdf]'."
        ) from None
    bound(limits.max_bytes, engine.memory_limit)
    logging.getLogger("pypdf").disabled = True  # it tells of every bent object, to a stderr that is the server's
    found = spool.Rows(COLUMNS)
    doc_id = files.sha256_of(engine.source)
    empty: list[int] = []
    with _translated():
        document = pypdf.PdfReader(engine.source)
        if document.is_encrypted and not _opens(document):
            raise InvalidInput("the document is encrypted.", fix="Save it without a password.")
        count = len(document.pages)
        for number, page in enumerate(document.pages, 1):
            text = page.extract_text().encode("utf-8", "replace").decode().replace("\x00", "").strip()
            if len(text) > limits.max_cell:
                raise TooLarge(
                    f"page {number} has over {limits.max_cell} characters.", fix="Raise ingest.max_cell_bytes."
                )
            if not text:
                empty.append(number)
            found.add(number, [doc_id, name, number, text])
            engine.at(60 * number / count, "reading pages")
    found.close()
    if not found.count:
        raise InvalidInput("the document has no page.", fix="Check the file.")
    table = spool.write(engine, found, range(len(COLUMNS)), types, held)
    return Table(table.rows, table.columns, _blank(empty, found.count), {})


def _opens(document: object) -> bool:
    """Whether a locked document opens without a password."""
    try:
        return bool(document.decrypt(""))  # type: ignore[attr-defined]
    # Of the ciphers, some need a library that is not there, and damaged ones fail in whatever way.
    except Exception:
        return False


def _blank(pages: list[int], count: int) -> list[str]:
    if not pages:
        return []
    shown = ", ".join(map(str, pages[:_SHOWN])) + (", …" if len(pages) > _SHOWN else "")
    return [f"{len(pages)} of {count} pages have no text (scans need OCR first): {shown}"]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (LakehouseError, MemoryError):
        raise
    # The library trusts its input: a damaged file surfaces as whatever it trips over, endless nesting included.
    except Exception as error:
        raise InvalidInput(f"the file cannot be read as PDF ({type(error).__name__}).", fix="Save it anew.") from error
