"""Whether a text says that a loop is done: the signal of `until`, as models write it."""

import re
from functools import lru_cache

_PROMISE = re.compile(r"<(/?)promise>", re.IGNORECASE)


def signalled(text: str, signal: str) -> bool:
    """Whether a text holds the signal where it counts.

    Between tags of one name, `<promise>DONE</promise>`, whatever the name and the case; else, in the case it was
    written in, at the very end of the text, where space and punctuation may follow, or alone on a line.
    """
    tagged, plain = _patterns(signal.strip())
    return tagged.search(text) is not None or plain.search(text) is not None


def without_promise(text: str) -> str:
    """A text without `<promise>…</promise>`, and without the space that was around it at either end."""
    kept, begin, over = [], None, 0
    for tag in _PROMISE.finditer(text):
        if not tag[1]:
            begin = tag.start() if begin is None else begin
        elif begin is not None:
            kept.append(text[over:begin])
            begin, over = None, tag.end()
    return "".join((*kept, text[over:])).strip() if kept else text


@lru_cache(maxsize=64)
def _patterns(signal: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    said = re.escape(signal)
    tagged = rf"<(?P<tag>[a-z][\w.-]*)(?:\s[^<>]*)?>\s*{said}\s*</(?P=tag)\s*>"
    # A signal is a word of its own: INCOMPLETE does not say COMPLETE.
    plain = rf"(?<!\w){said}[^\w<>]*\Z|^[^\S\n]*{said}[^\S\n]*$"
    return re.compile(tagged, re.IGNORECASE), re.compile(plain, re.MULTILINE)
