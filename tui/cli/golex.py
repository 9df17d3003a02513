"""Go templates: text → tokens (text/template/parse/lex.go).

A token is (kind, text, offset in the template). Kinds: ``text``, ``open``, ``close``, ``field`` (.A), ``variable``
($a), ``identifier``, ``keyword``, ``string``, ``char``, ``number``, ``bool``, ``nil``, ``dot``, ``|``, ``(``, ``)``,
``,``, ``:=``, ``=``, ``space``, ``end``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    Token = tuple[str, str, int]

KEYWORDS = frozenset("if else end range with define template block break continue".split())
_SPACE = " \t\r\n"
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_CODES = {"x": 2, "u": 4, "U": 8}


class ParseError(Exception):
    """The template's text is wrong; the message is Go's."""


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text``. Raises ParseError."""
    position = 0
    trim = False
    while True:
        start = text.find("{{", position)
        piece = text[position:] if start < 0 else text[position:start]
        if trim:
            piece = piece.lstrip(_SPACE)
        if start < 0:
            yield "text", piece, position
            yield "end", "", len(text)
            return
        position = start + 2
        if text[position : position + 1] == "-" and text[position + 1 : position + 2] in tuple(_SPACE):
            piece = piece.rstrip(_SPACE)
            position += 2
        yield "text", piece, start
        if text.startswith("/*", position):
            position, trim = _comment(text, position)
            continue
        yield "open", "{{", start
        position, trim = yield from _action(text, position)
        yield "close", "}}", position


def _comment(text: str, position: int) -> tuple[int, bool]:
    end = text.find("*/", position)
    if end < 0:
        raise ParseError("unclosed comment")
    end += 2
    if text.startswith(" -}}", end):
        return end + 4, True
    if text.startswith("}}", end):
        return end + 2, False
    raise ParseError("comment ends before closing delimiter")


def _action(text: str, position: int) -> Generator[Token, None, tuple[int, bool]]:
    """Tokens up to the closing braces; returns (position after them, whether they trim)."""
    depth = 0
    while True:
        if text.startswith("}}", position) or text[position : position + 4] in (" -}}", "\t-}}", "\n-}}", "\r-}}"):
            if depth:
                raise ParseError("unclosed left paren")
            trim = not text.startswith("}}", position)
            return position + (4 if trim else 2), trim
        if position >= len(text):
            raise ParseError("unclosed action")
        kind, word = _token(text, position)
        depth += {"(": 1, ")": -1}.get(kind, 0)
        if depth < 0:
            raise ParseError("unexpected right paren")
        yield kind, word, position
        position += len(word)


def _token(text: str, position: int) -> tuple[str, str]:
    """The token at ``position`` with its text as written."""
    c = text[position]
    if c in _SPACE:
        end = position
        while text[end : end + 1] in tuple(_SPACE) and not text.startswith("-}}", end + 1):
            end += 1
        return "space", text[position : max(end, position + 1)]
    if text.startswith(":=", position):
        return ":=", ":="
    if c in "|(),=":
        return c, c
    if c in "\"'`":
        return ("char" if c == "'" else "string"), _quoted(text, position, c)
    following = text[position + 1 : position + 2]
    if c == "." and not following.isdecimal():
        word = c + _word(text, position + 1)
        return ("field" if len(word) > 1 else "dot"), word
    if c == "$":
        return "variable", c + _word(text, position + 1)
    if c.isdecimal() or (c in "+-." and following and (following.isdecimal() or following == ".")):
        return "number", c + _number(text, position + 1)
    word = _word(text, position)
    if not word:
        raise ParseError(f"unexpected {_shown(c)} in command" if c.isprintable() else f"unrecognized character: {c!r}")
    if word in ("true", "false"):
        return "bool", word
    return ("keyword" if word in KEYWORDS else "nil" if word == "nil" else "identifier"), word


def _shown(c: str) -> str:
    return f'"{c}"'


def _word(text: str, position: int) -> str:
    end = position
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return text[position:end]


def _number(text: str, position: int) -> str:
    end = position
    while end < len(text) and (
        text[end].isalnum() or text[end] in "._" or (text[end] in "+-" and text[end - 1] in "eE")
    ):
        end += 1
    return text[position:end]


def _quoted(text: str, position: int, quote: str) -> str:
    end = position + 1
    while end < len(text):
        c = text[end]
        if c == quote:
            return text[position : end + 1]
        if c == "\\" and quote != "`":
            end += 1
        elif c == "\n" and quote != "`":
            break
        end += 1
    raise ParseError({"`": "unterminated raw quoted string", "'": "unterminated character constant"}.get(
        quote, "unterminated quoted string"
    ))  # fmt: skip


def unquote(word: str) -> str:
    """The value of a quoted token. Raises ParseError for escapes Go does not know."""
    body = word[1:-1]
    if word[0] == "`" or "\\" not in body:
        return body
    out: list[str] = []
    position = 0
    while position < len(body):
        c = body[position]
        position += 1
        if c != "\\":
            out.append(c)
            continue
        c = body[position : position + 1]
        position += 1
        length = _CODES.get(c, 3 if c in "01234567" and c else 0)
        if c in _ESCAPES:
            out.append(_ESCAPES[c])
        elif length:
            start = position - (c in "01234567")
            digits = body[start : start + length]
            try:
                out.append(chr(int(digits, 16 if c in _CODES else 8)))
            except (ValueError, OverflowError):
                raise ParseError(f"invalid syntax in {word}") from None
            position = start + length
        else:
            raise ParseError(f"invalid syntax in {word}")
    return "".join(out)
