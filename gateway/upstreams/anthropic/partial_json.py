"""Completes truncated JSON.

Claude's tool arguments arrive in fragments, and an answer that reaches max_tokens stops in the middle of one. The
fragments have been sent to the client already, so the text can only be completed.
"""

import re

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<string>"(?:[^"\\]|\\.)*+")
    | (?P<partial>".*)
    | (?P<scalar>[^\s"{}\[\],:]+)
    | (?P<mark>[{}\[\],:])""",
    re.DOTALL | re.VERBOSE,
)
_PARTIAL_STRING = re.compile(
    r"""(?:[^\\]|\\u[0-9a-fA-F]{4}|\\[^u])*?
    (?P<high>\\u[dD][89abAB][0-9a-fA-F]{2})?
    (?P<escape>\\(?:u[0-9a-fA-F]{0,3})?)?""",
    re.DOTALL | re.VERBOSE,
)
_LITERALS = ("true", "false", "null")
_COMPLETIONS = {
    "nothing": "",
    "first name": "",
    "first value": "",
    "name": '"":null',
    "colon": ":null",
    "value": "null",
}
_CLOSERS = {"{": "}", "[": "]"}


def completion(text: str) -> str:
    """What to append to ``text``, the start of a JSON value, to make it whole; ``{}`` when it has not begun.

    A name without a value gets ``null``. For text that is not the start of JSON the result is undefined.
    """
    if not text.strip():
        return "{}"
    closers: list[str] = []
    expected, tail = "value", ""
    for token in _TOKEN.finditer(text):
        tail = ""
        match token.lastgroup:
            case "string" | "partial":
                expected = "colon" if expected in ("name", "first name") else "nothing"
                tail = _string_tail(token[0]) if token.lastgroup == "partial" else ""
            case "scalar":
                expected = "nothing"
                tail = _scalar_tail(token[0]) if token.end() == len(text) else ""
            case "mark":
                expected = _next_expected(token[0], closers)
    return tail + _COMPLETIONS[expected] + "".join(reversed(closers))


def _next_expected(mark: str, closers: list[str]) -> str:
    """What is expected after a structural character; updates the stack of brackets to close."""
    if mark in _CLOSERS:
        closers.append(_CLOSERS[mark])
        return "first name" if mark == "{" else "first value"
    if mark == ":":
        return "value"
    if mark == ",":
        return "name" if closers[-1:] == ["}"] else "value"
    if closers:
        closers.pop()
    return "nothing"


def _string_tail(partial: str) -> str:
    match = _PARTIAL_STRING.fullmatch(partial)
    high, escape = (match["high"], match["escape"]) if match else (None, None)
    if high:
        return "\\udc00"[len(escape or "") :] + '"'
    if escape == "\\":
        return '\\"'
    if not escape:
        return '"'
    digits = escape[2:].ljust(4, "0")
    low = "\\udc00" if re.match(r"[dD][89abAB]", digits) else ""
    return digits[len(escape) - 2 :] + low + '"'


def _scalar_tail(scalar: str) -> str:
    for literal in _LITERALS:
        if literal.startswith(scalar):
            return literal[len(scalar) :]
    return "" if scalar[-1].isdigit() else "0"
