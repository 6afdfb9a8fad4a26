"""The attestation that injection and registration start from."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tools.inject.conftest import Operator
from tools.inject.attested import attest, read_root
from tools.verify.attestation.document import parse
from tools.verify.enclave import fetch_document
from tools.verify.fetch import Fetched
from tools.verify.inputs import read_measurements

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "CBOR": bytes,
}


@pytest.mark.parametrize("form", FORMS)
async def test_the_document_is_kept_as_cbor_whatever_form_it_is_served_in(
    operator: Operator, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is what an operator registers on chain."""
    served = []

    def fetch(url: str, nonce: bytes) -> Fetched:
        fetched = fetch_document(url, nonce)
        served.append(base64.b64decode(fetched.body))
        return replace(fetched, body=FORMS[form](served[-1]))

    monkeypatch.setattr("tools.inject.attested.fetch_document", fetch)
    options = operator.options
    measurements, root = read_measurements(Path(options["measurements"])), read_root(Path(options["root"]))
    attested = await asyncio.to_thread(attest, options["attestation-url"], measurements, root=root)
    assert [attested.raw] == served
    assert attested.document == parse(served[0])
