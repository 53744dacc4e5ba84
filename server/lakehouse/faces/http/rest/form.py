"""A multipart/form-data body, read as it comes: its fields, and the bytes of one file."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lakehouse.errors import InvalidInput, TooLarge

FILE = "file"
MAX_FIELDS = 100
MAX_FIELD_BYTES = 2**20  # all fields together
FIX = f"Send multipart/form-data with the file as {FILE!r} and arguments as fields."


class Form:
    """Feed it the body; it hands back what of it belongs to the file."""

    def __init__(self, content_type: str) -> None:
        """Raises InvalidInput for a content type without a usable boundary."""
        _, options = parse_options_header(content_type)
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]
        except (KeyError, FormParserError):
            raise InvalidInput("the body: its content type names no usable boundary.", fix=FIX) from None
        self.fields: dict[str, list[str]] = {}
        self.filename = ""
        self.media_type = ""
        self._has_file = self._ended = False
        self._name: str | None = None  # of the field that is read now; None within the file
        self._value = bytearray()
        self._header = bytearray(), bytearray()
        self._heads: dict[bytes, bytes] = {}
        self._file: list[bytes] = []
        self._field_bytes = self._parts = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Read on; the file's bytes in this piece. Raises InvalidInput for what is no form, and TooLarge."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise InvalidInput(f"the body is not the form it says it is: {error}.", fix=FIX) from None
        found, self._file = self._file, []
        return found

    def finish(self) -> None:
        """Raises InvalidInput for a form that is cut off, and for one without a file."""
        if not self._ended:
            raise InvalidInput("the body: the form ends before its last boundary.", fix=FIX)
        if not self._has_file:
            fields = ", ".join(repr(name[:40]) for name in self.fields) or "nothing"
            raise InvalidInput(f"{FILE}: the form has no file part of that name; it has {fields}.", fix=FIX)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise TooLarge(f"the form has over {MAX_FIELDS} parts.", fix=FIX)
        self._heads = {}
        self._header = bytearray(), bytearray()
        self._value = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        self._heads[bytes(self._header[0]).lower()] = bytes(self._header[1])
        self._header = bytearray(), bytearray()

    def _headers(self) -> None:
        kind, options = parse_options_header(self._heads.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise InvalidInput("the body: a part of the form has no name.", fix=FIX)
        name = options[b"name"].decode("utf-8", "replace")
        self._name = name
        if b"filename" in options or name == FILE:
            if name != FILE or self._has_file:
                raise InvalidInput(f"{name[:100]}: the form has one file, called {FILE!r}.", fix=FIX)
            self._name, self._has_file = None, True
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self.media_type = self._heads.get(b"content-type", b"").decode("latin-1")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            self._file.append(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > MAX_FIELD_BYTES:
            raise TooLarge(f"the form's fields are over {MAX_FIELD_BYTES} bytes.", fix="Send less in them.")
        self._value.extend(data[start:end])

    def _part_end(self) -> None:
        if self._name is None:
            return
        try:
            text = self._value.decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"{self._name[:100]}: the field is not UTF-8.", fix="Send text as UTF-8.") from None
        self.fields.setdefault(self._name, []).append(text)

    def _end(self) -> None:
        self._ended = True
