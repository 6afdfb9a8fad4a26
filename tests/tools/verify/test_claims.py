"""When a report is valid, and how untrusted text is printed."""

import io

import pytest

from tools.verify.claims import Claim, Report, failed, one_line, passed, skipped


@pytest.mark.parametrize(
    ("claims", "exit_code", "summary"),
    [
        ([passed("a", "")], 0, "valid"),
        ([passed("a", ""), skipped("b", ""), skipped("c", "")], 0, "valid (not checked: b, c)"),
        ([passed("a", ""), failed("b", ""), failed("c", "")], 1, "invalid: b, c"),
        ([skipped("a", "")], 1, "invalid: nothing could be checked"),
        ([], 1, "invalid: nothing could be checked"),
    ],
)
def test_a_report_is_valid_if_something_was_checked_and_nothing_failed(
    claims: list[Claim], exit_code: int, summary: str
) -> None:
    report, out = Report(claims), io.StringIO()
    report.write(out)
    assert report.exit_code == exit_code
    assert out.getvalue().splitlines()[len(claims) :] == [summary]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("naïve ☀", "naïve ☀"),
        ("a\nPASS b", r"a\nPASS b"),
        ("\x1b[2J\u2028\ud800", r"\x1b[2J\u2028\ud800"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
    ],
)
def test_untrusted_text_is_one_printable_line_of_bounded_length(text: str, line: str) -> None:
    assert one_line(text, 20) == line
