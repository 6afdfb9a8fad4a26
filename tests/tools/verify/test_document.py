"""What is no attestation document."""

import base64
from datetime import UTC, datetime

import pytest

from tools.verify.attestation.document import parse
from tools.verify.double import AttestationDouble
from tools.verify.errors import MalformedError

DOCUMENT = AttestationDouble(datetime(2026, 11, 1, 12, tzinfo=UTC)).document()


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT.hex().encode(),
        b"".join([b'{"document":"', base64.b64encode(DOCUMENT), b'"}']),
        base64.b64encode(DOCUMENT).replace(b"a", b"a*", 1),
        b"AAAA",
        b" \n",
        b"",
    ],
    ids=["hexadecimal", "JSON", "no digit of base64 in it", "base64 of something else", "blank", "empty"],
)
def test_another_form_of_text_is_named_as_such(text: bytes) -> None:
    """Hexadecimal digits are digits of base64 too."""
    with pytest.raises(MalformedError, match=r"^neither a COSE_Sign1 array nor base64 text of one$"):
        parse(text)
