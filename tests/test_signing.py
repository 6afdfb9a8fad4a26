"""Signature, enclave ids and wallet, against independent implementations and one golden vector."""

import base64
import json

import coincurve
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from gateway.envelope import canonical_chat_request
from gateway.keccak import keccak256
from gateway.signing import Envelope, Signer
from tests.golden_key import TEE_ID, golden_key

PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
BODY = {
    "model": "openai/gpt-4.1",
    "messages": [{"role": "developer", "content": "Be short."}, {"role": "user", "content": "h\u00e9llo"}],
    "stream": True,
}
REQUEST_HASH = "f48260f2146aa9e1eb6d5a81e4d624ba6218180a08acae69a118b1b6f4218c8c"
OUTPUT = "Gr\u00fc\u00df Gott"
OUTPUT_HASH = "68b63361c30f1a5486fb501d44916716a93fef15e23b0082cef0334fba07129f"
TIMESTAMP = 1_700_000_000
DIGEST = "c413bcceb08eb15b96b17b687668977babd8585f6843039be4ffa073ae44e895"
# Generated once with the golden key; PSS is salted, so every signature differs.
SIGNATURE = (
    "ohGE0HrsD6sykBq628GMq211pW4cUQRtkKK3BCqtA6K5LxKNPSqWq0NS5LoMISPO2WZLCUy+NV3Ru3k+sQ2Qb4L+DCekygXei8ktLc44hLu1TlU2"
    "Slr0NJbZ3v1GqmrIIFOlA3nN4S5GqFwnx0Y1seINUpTJZ8dKILD+znxL9iU1e3OAnjvlu2JLmD8Oeh3+PhNrq/os/y/fdLG5WgP0hg3D9VpzUy2T"
    "MeGU1/Llh0ON7Ny0BEGSwRr+AUGj3N+/3HWEDqy3VxdYjHTLroxX68aRSXfDziIKjuyFcVTePopkqq/MC2W1RqrnwLQFuDKpbqKZK8QcWGb+S0pX"
    "2TAbQw=="
)


@pytest.fixture(scope="module")
def golden() -> Signer:
    return Signer(golden_key(), coincurve.PrivateKey(b"\x01" * 32))


def test_golden_vector(golden: Signer) -> None:
    request_hash = keccak256(canonical_chat_request(BODY))
    assert request_hash.hex() == REQUEST_HASH
    envelope = golden.sign(request_hash, OUTPUT, TIMESTAMP)
    assert (envelope.request_hash, envelope.output_hash) == (REQUEST_HASH, OUTPUT_HASH)
    assert (envelope.timestamp, envelope.tee_id) == (TIMESTAMP, TEE_ID)
    public = golden_key().public_key()
    for signature in (envelope.signature, SIGNATURE):
        public.verify(base64.b64decode(signature, validate=True), bytes.fromhex(DIGEST), PSS, hashes.SHA256())


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 64])
def test_salt_is_32_bytes(golden: Signer, salt: int) -> None:
    signature = golden.sign_bytes(b"message")
    other = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
    with pytest.raises(InvalidSignature):
        golden_key().public_key().verify(signature, b"message", other, hashes.SHA256())


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_every_signature_verifies_over_its_own_hashes(golden: Signer, output: str, moment: int, request: bytes) -> None:
    envelope = golden.sign(request, output, moment)
    assert envelope.request_hash == request.hex()
    assert envelope.output_hash == keccak(output.encode()).hex()
    message = keccak(request + keccak(output.encode()) + moment.to_bytes(32, "big"))
    public = serialization.load_pem_public_key(golden.public_pem.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(base64.b64decode(envelope.signature), message, PSS, hashes.SHA256())


def test_signatures_are_salted(golden: Signer) -> None:
    assert golden.sign_bytes(b"x") != golden.sign_bytes(b"x")


def test_tee_id_is_the_hash_of_the_public_key(golden: Signer) -> None:
    public = serialization.load_pem_public_key(golden.public_pem.encode())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert golden.public_der == der
    assert golden.tee_id == TEE_ID == "0x" + keccak(der).hex()


def test_keys_are_born_new(golden: Signer) -> None:
    other = Signer()
    assert other.tee_id != golden.tee_id
    assert other.wallet_address != golden.wallet_address
    public = serialization.load_pem_public_key(other.public_pem.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    assert (public.key_size, public.public_numbers().e) == (2048, 65537)


def test_wallet_address_is_ethereums(golden: Signer) -> None:
    assert golden.wallet_address == Account.from_key(b"\x01" * 32).address
    assert golden.wallet.secret == b"\x01" * 32


ENVELOPE = Envelope(request_hash="aa", output_hash="bb", signature="c2ln", timestamp=7, tee_id="0x1")


def test_fields_of_the_answer() -> None:
    assert json.loads(json.dumps(ENVELOPE.fields())) == {
        "tee_signature": "c2ln",
        "tee_request_hash": "aa",
        "tee_output_hash": "bb",
        "tee_timestamp": 7,
        "tee_id": "0x1",
    }


def test_headers_of_the_answer() -> None:
    assert dict(ENVELOPE.headers()) == {
        "X-TEE-Signature": "c2ln",
        "X-TEE-ID": "0x1",
        "X-TEE-Timestamp": "7",
        "X-TEE-Request-Hash": "aa",
        "X-TEE-Output-Hash": "bb",
    }
