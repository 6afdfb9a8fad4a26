"""What is taken for a signing key."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.verify.errors import MalformedError
from tools.verify.signing_key import load_signing_key


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"{}",
        b'{"public_key": 1}',
        b'{"public_key": "x"}',
        b'{"public_key": "\\ud800"}',
        '{"public_key": "\u00e9"}'.encode(),
        b"-----BEGIN PUBLIC KEY-----\n",
    ],
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        load_signing_key(data)


def pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_response_of_a_gateway(answer_signer: Any) -> None:
    document = msgspec.json.encode({"public_key": answer_signer.pem.decode(), "tee_id": answer_signer.tee_id})
    key = load_signing_key(b"\r\n" + document)
    assert key.stated_tee_id == key.tee_id == answer_signer.tee_id
    with pytest.raises(MalformedError, match="tee_id is not text"):
        load_signing_key(msgspec.json.encode({"public_key": answer_signer.pem.decode(), "tee_id": 1}))


def test_keys_of_another_kind_or_that_could_be_factored_are_refused() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - refused
    for key, reason in (
        (short, "an RSA key of only 1024 bits"),
        (ec.generate_private_key(ec.SECP256R1()).public_key(), "not an RSA key but"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "not an RSA key but"),
    ):
        for data in (pem(key), msgspec.json.encode({"public_key": pem(key).decode()})):
            with pytest.raises(MalformedError, match=reason):
                load_signing_key(data)
