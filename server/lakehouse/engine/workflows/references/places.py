"""Where in a bash script references stand: in which quotes, here-documents, expansions and commands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lakehouse.engine.workflows.references.standing import HereDocument, Kind, Place
from lakehouse.engine.workflows.references.sums import Declared, Taken, compares
from lakehouse.engine.workflows.references.templates import Reference

MAX_DEPTH = 100  # quotes, expansions and here-documents within each other
MAX_COMMAND = 240  # characters at either end of a command that tell what it does with a word
_META = " \t\n;&|()<>"
_STAYS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "time", "coproc", "function"})
_PARAM = re.compile(r"[!#]?(?:\w+|[@*#?$!-])?(?P<index>\[[^\]]*\])?(?P<operator>:?[-=+?]|##?|%%?|/[/#%]?|\^\^?|,,?|)")
_DELIMITER = re.compile(r"(?:[^\s;&|()<>'\"\\$`]|\\.|'[^'\n]*'|\"[^\"\n$`\\]*\")+")


@dataclass
class Reading:
    """A script as read: the place of each reference, and the here-documents that bash takes literally."""

    places: list[Place]
    heredocs: list[HereDocument]


@dataclass
class _Frame:
    kind: str  # cmd, tick, double, single, ansi, here, param, sum
    begins: int = 0  # of the command that is being read
    closes: str = ""
    inner: Kind = "word"  # of what stands directly in an expansion
    quoted: bool = False  # an expansion within double quotes
    at_command: bool = True
    case: int = 0
    word: int | None = None
    cond: bool = False
    listed: bool = False  # the elements of x=(…)
    depth: int = 0
    before: str = ""
    tabs: bool = False


def read(script: str, found: Sequence[Reference]) -> Reading:
    """Where references stand. Where the script is not one that is understood to its end, all are `unsure`."""
    reader = _Reader(script, found)
    reader.read(0, len(script), _Frame("cmd"))
    places = [reader.places.get(one.start) if reader.sure else None for one in found]
    return Reading([reader.told(one, place) for one, place in zip(found, places, strict=True)], reader.heredocs)


@dataclass
class _Reader:
    script: str
    found: Sequence[Reference]
    places: dict[int, Place] = field(default_factory=dict)
    heredocs: list[HereDocument] = field(default_factory=list)
    sure: bool = True
    depth: int = 0  # of here-documents

    def __post_init__(self) -> None:
        self._ends = {one.start: one.end for one in self.found}
        self._declared = Declared(self.script)

    def told(self, reference: Reference, place: Place | None) -> Place:
        """The place of a reference with what bash takes the word for; None: it is not known."""
        if place is None:
            begin, end = reference.start - MAX_COMMAND, reference.end + MAX_COMMAND
            before, around = self.script[max(begin, 0) : reference.start], self.script[max(begin, 0) : end]
            command = re.split(r"[;&|\n(`]", before)[-1]
            taken = "sum" if compares(around) else self._declared.taken(command)
            return Place("unsure", before, taken=taken)
        if place.taken != "text" or place.kind in ("here", "literal", "comment", "computed"):
            return place
        return place._replace(taken=self._declared.taken(place.command))

    def read(self, place: int, end: int, first: _Frame) -> None:
        """Read a part of the script: the whole, or the text of a here-document."""
        script, stack = self.script, [first]
        pending: list[tuple[str, int, int, bool, bool]] = []
        while place < end and self.sure:
            frame, char = stack[-1], script[place]
            if len(stack) > MAX_DEPTH:
                self.sure = False
            if place in self._ends:
                self._mark(place, stack, escaped=False)
                if frame.kind in ("cmd", "tick") and frame.word is None:
                    frame.word = place
                place = self._ends[place]
                continue
            if char == "`" and frame.kind != "literal" and any(one.kind == "tick" for one in stack):
                # A backtick ends the substitution, whatever is open in it.
                if stack[-1].kind != "tick":
                    self.sure = False
                while stack.pop().kind != "tick":
                    pass
                place += 1
                continue
            if frame.kind == "single":
                place += 1
                if char == "'":
                    stack.pop()
                continue
            if char == "\\":
                if any(one.kind == "tick" for one in stack):
                    self.sure = False  # one backslash is taken off there before anything is read
                if place + 1 in self._ends:
                    self._mark(place + 1, stack, escaped=True)
                    place = self._ends[place + 1]
                else:
                    place += 2
                if frame.kind in ("cmd", "tick") and frame.word is None and script[place - 1 : place] != "\n":
                    frame.word = place - 2
                continue
            if frame.kind == "ansi":
                place += 1
                if char == "'":
                    stack.pop()
                continue
            if char == "$" or char == "`":
                opened = self._substitution(place, frame, stack)
                if opened is not None:
                    if frame.kind in ("cmd", "tick") and frame.word is None:
                        frame.word = place
                    place = opened
                    continue
            if frame.kind == "double":
                place += 1
                if char == '"':
                    stack.pop()
                elif char == "\n" and pending:
                    self.sure = False
                continue
            if frame.kind == "here":
                place += 1
                continue
            if frame.kind == "sum":
                place = self._sum(place, frame, stack)
                continue
            if frame.kind == "param":
                place = self._param(place, frame, stack)
                continue
            place = self._command(place, end, frame, stack, pending)
        if first.kind == "cmd" and stack:
            self._word_over(end, stack[-1])
        if len(stack) != 1 or pending or first.case:
            self.sure = False

    def _mark(self, place: int, stack: list[_Frame], *, escaped: bool) -> None:
        frame = stack[-1]
        kind: Kind
        if frame.kind in ("cmd", "tick"):
            kind = "word"
        elif frame.kind == "param":
            kind = frame.inner
        elif frame.kind == "sum":
            kind = "computed"
        else:
            kind = frame.kind  # type: ignore[assignment]
        commands = [one for one in stack if one.kind in ("cmd", "tick")]
        command = self._command_before(commands[-1].begins, place) if commands else ""
        taken: Taken = "text"
        if commands and commands[-1].cond and kind in ("word", "double", "single", "ansi"):
            over = re.compile(r"&&|\|\||\]\]").search(self.script, place)
            before = re.split(r"&&|\|\||\[\[", command)[-1]
            if compares(before + " x " + self.script[place : over.start() if over else None]):
                taken = "sum"
        if commands and commands[-1].listed:
            taken = self._declared.listed(self._command_before(commands[-2].begins, commands[-1].begins - 1), command)
        tabs = frame.kind == "here" and frame.tabs
        self.places[place] = Place(kind, command, None, tabs, escaped, taken)

    def _command_before(self, begins: int, place: int) -> str:
        """Of a long command its beginning and its end."""
        if place - begins <= 2 * MAX_COMMAND:
            return self.script[begins:place]
        return self.script[begins : begins + MAX_COMMAND] + self.script[place - MAX_COMMAND : place]

    def _substitution(self, place: int, frame: _Frame, stack: list[_Frame]) -> int | None:
        """Where what a `$` or a backtick opens begins; None where it opens nothing."""
        script = self.script
        quoted = frame.kind in ("double", "here", "sum") or (frame.kind == "param" and frame.quoted)
        if script[place] == "`":
            stack.append(_Frame("tick", place + 1, "`"))
            return place + 1
        if script.startswith("$((", place):
            stack.append(_Frame("sum", closes="))"))
            return place + 3
        if script.startswith("$(", place):
            stack.append(_Frame("cmd", place + 2, ")"))
            return place + 2
        if script.startswith("$[", place):
            stack.append(_Frame("sum", closes="]"))
            return place + 2
        if script.startswith("${", place):
            if place + 2 < len(script) and script[place + 2] in " \t\n|":
                self.sure = False
            match = _PARAM.match(script, place + 2)
            assert match is not None
            operator, index = match["operator"], match["index"]
            inner: Kind = "computed"
            over = match.end()
            if index is not None and "$" in index:
                over = match.start("index")
                if script[place + 2 : over].lstrip("!#") in self._declared.maps:
                    inner = "word"
            elif operator[-1:] in ("-", "=", "+", "?"):
                inner = "double" if quoted else "word"
            elif operator:
                inner = "word"
            # Within double quotes a single quote is none after :-, but one in a pattern.
            stack.append(_Frame("param", inner=inner, quoted=quoted, closes="'" if inner == "double" else ""))
            return over
        if script.startswith("$'", place) and not quoted:
            stack.append(_Frame("ansi"))
            return place + 2
        return None

    def _sum(self, place: int, frame: _Frame, stack: list[_Frame]) -> int:
        char = self.script[place]
        if char == "'":
            self.sure = False
        if frame.closes == "]":
            frame.depth += {"[": 1, "]": -1}.get(char, 0)
            if frame.depth < 0:
                stack.pop()
            return place + 1
        if char == "(":
            frame.depth += 1
        elif char == ")":
            if frame.depth:
                frame.depth -= 1
            else:
                stack.pop()
                if not self.script.startswith("))", place):
                    self.sure = False  # it was a substitution that begins with a subshell
                return place + 2
        return place + 1

    def _param(self, place: int, frame: _Frame, stack: list[_Frame]) -> int:
        char = self.script[place]
        if char == "}":
            stack.pop()
        elif char == '"':
            stack.append(_Frame("double"))
        elif char == "'":
            if frame.quoted:
                self.sure = False
            if not frame.closes:
                stack.append(_Frame("single"))
        return place + 1

    def _word_over(self, place: int, frame: _Frame) -> None:
        """What the word that ends here means for the command it is in."""
        if frame.word is None:
            return
        word, frame.word = self.script[frame.word : place], None
        if frame.cond:
            frame.cond = word != "]]"
            return
        if not frame.at_command:
            if word == "do" or (word == "in" and frame.before == "case"):
                frame.at_command = True
            if frame.before != "case" or word == "in":
                frame.before = "" if word == "case" else word
            return
        frame.before = word
        if word == "[[":
            frame.cond = True
        elif word == "case":
            frame.case += 1
        elif word == "esac":
            if not frame.case:
                self.sure = False
            frame.case -= 1
        frame.at_command = word in _STAYS or re.fullmatch(r"\w+\+?=\S*", word) is not None

    def _command(
        self, place: int, end: int, frame: _Frame, stack: list[_Frame], pending: list[tuple[str, int, int, bool, bool]]
    ) -> int:
        script, char = self.script, self.script[place]
        if char not in _META:
            if char == "#" and frame.word is None:
                over = script.find("\n", place)
                over = end if over < 0 else over
                for start in self._ends:
                    if place < start < over:
                        self.places[start] = Place("comment")
                return over
            if frame.word is None:
                frame.word = place
            if char == "'":
                stack.append(_Frame("single"))
            elif char == '"':
                stack.append(_Frame("double"))
            return place + 1
        self._word_over(place, frame)
        if char in " \t":
            return place + 1
        if char == "\n" and not frame.cond:
            self._next(place + 1, frame)
            return self._heredocs(place + 1, end, pending) if pending else place + 1
        if script.startswith("<<<", place):
            return place + 3
        if script.startswith("<<", place) and not frame.cond:
            return self._heredoc(place, pending)
        if char in "<>":
            if script.startswith(("<(", ">("), place):
                stack.append(_Frame("cmd", place + 2, ")"))
                return place + 2
            return place + (2 if script[place + 1 : place + 2] in ("&", "|", ">") else 1)
        if char == "(":
            if script.startswith("((", place) and (frame.at_command or frame.before == "for") and not frame.cond:
                stack.append(_Frame("sum", closes="))"))
                return place + 2
            listed = script[place - 1 : place] == "="
            stack.append(_Frame("cmd", place + 1, ")", cond=frame.cond, listed=listed))
            return place + 1
        if char == ")":
            if frame.case and not frame.cond:
                self._next(place + 1, frame)
            elif frame.closes == ")" and len(stack) > 1:
                if pending:
                    self.sure = False
                stack.pop()
                stack[-1].at_command = stack[-1].at_command or stack[-1].kind in ("cmd", "tick")
            else:
                self.sure = False
            return place + 1
        if not frame.cond:  # ; & |
            self._next(place + 1, frame)
        return place + 1

    @staticmethod
    def _next(place: int, frame: _Frame) -> None:
        frame.begins, frame.at_command, frame.before = place, True, ""

    def _heredoc(self, place: int, pending: list[tuple[str, int, int, bool, bool]]) -> int:
        tabs = self.script.startswith("<<-", place)
        start = place + (3 if tabs else 2)
        while self.script[start : start + 1] in (" ", "\t"):
            start += 1
        match = _DELIMITER.match(self.script, start)
        if match is None or any(match.start() <= one < match.end() for one in self._ends):
            self.sure = False
            return start
        over = self.script[match.end() : match.end() + 1]
        if over and over not in _META:
            self.sure = False
        delimiter = re.sub(r"\\(.)|['\"]", r"\1", match[0])
        literal = delimiter != match[0]
        pending.append((delimiter, match.start(), match.end(), tabs, literal))
        return match.end()

    def _heredocs(self, place: int, end: int, pending: list[tuple[str, int, int, bool, bool]]) -> int:
        """Read the here-documents that begin with this line; where they end."""
        for delimiter, start, over, tabs, literal in pending:
            body = place
            while True:
                if place >= end:
                    self.sure = False
                    break
                stop = self.script.find("\n", place, end)
                stop = end if stop < 0 else stop
                line = self.script[place:stop]
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
                if not literal and line.endswith("\\"):
                    self.sure = False
                place = stop + 1
            place = min(place, end)
            self._body(HereDocument(delimiter, start, over, body, place, tabs), literal)
            stop = self.script.find("\n", place, end)
            place = end if stop < 0 else stop + 1
        pending.clear()
        return place

    def _body(self, heredoc: HereDocument, literal: bool) -> None:
        if not literal:
            self.depth += 1
            self.sure = self.sure and self.depth <= MAX_DEPTH
            self.read(heredoc.body, heredoc.over, _Frame("here", tabs=heredoc.tabs))
            self.depth -= 1
            return
        self.heredocs.append(heredoc)
        for start in self._ends:
            if heredoc.body <= start < heredoc.over:
                self.places[start] = Place("literal", "", len(self.heredocs) - 1, heredoc.tabs)
