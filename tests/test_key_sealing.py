"""Sealed key bundles: the signature over the offer, who can decrypt a bundle, and how faults are reported."""

import base64
import json
import logging
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.key_sealing import SealingKey, seal
from gateway.openai_api.errors import GatewayError
from gateway.signing import Signer
from tests.running_gateway import RunningGateway, StartGateway

SECRET = "sk-secret-openai"
KEYS = {"openai_api_key": SECRET}


@pytest.fixture(scope="module")
def other_signer() -> Signer:
    return Signer()


def signed_by(signer: Signer, signature: str, message: bytes) -> None:
    """Verified without the gateway's code."""
    public = load_der_public_key(signer.public_der)
    assert isinstance(public, rsa.RSAPublicKey)
    pss = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
    public.verify(base64.b64decode(signature, validate=True), message, pss, SHA256())


def sealed_for(key: SealingKey, fields: Any) -> str:
    public = base64.b64decode(str(key.public_info["public_key"]))
    content = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return seal(content, str(key.public_info["tee_id"]), public)


def test_the_offer_is_signed_and_names_its_suite(signer: Signer) -> None:
    offer = SealingKey(signer).public_info
    public = base64.b64decode(str(offer["public_key"]))
    assert len(public) == 32
    message = b"tee-gateway sealing key v1\0" + bytes.fromhex(signer.tee_id[2:]) + public
    assert len(message) > 32, "as long as a digest, it could pass for an answer's"
    signed_by(signer, str(offer["signature"]), message)
    with pytest.raises(InvalidSignature):
        signed_by(signer, str(offer["signature"]), message[:-1] + bytes([message[-1] ^ 1]))
    assert {name: offer[name] for name in ("kem_id", "kdf_id", "aead_id")} == {"kem_id": 32, "kdf_id": 1, "aead_id": 2}
    assert offer["tee_id"] == signer.tee_id


def test_a_bundle_is_plain_hpke_bound_to_the_enclave(signer: Signer, other_signer: Signer) -> None:
    private = X25519PrivateKey.generate()
    sealed = seal(b"{}", signer.tee_id, private.public_key().public_bytes_raw())
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"tee-gateway sealed keys v1\0" + bytes.fromhex(signer.tee_id[2:])
    assert suite.decrypt(base64.b64decode(sealed), private, info) == b"{}"
    with pytest.raises(InvalidTag):
        suite.decrypt(base64.b64decode(sealed), private, info[:-32] + bytes.fromhex(other_signer.tee_id[2:]))


def test_only_its_own_bundles_open(signer: Signer) -> None:
    key, restarted = SealingKey(signer), SealingKey(signer)
    sealed = sealed_for(key, KEYS)
    assert key.unseal({"sealed": sealed}) == KEYS
    with pytest.raises(GatewayError, match="not sealed for this gateway"):
        restarted.unseal({"sealed": sealed})
    with pytest.raises(GatewayError, match="not sealed for this gateway"):
        key.unseal({"sealed": f"{sealed}\n"})


def test_the_receipt_is_for_one_bundle(signer: Signer) -> None:
    receipt = SealingKey(signer).receipt("AAAA")
    digest = bytes.fromhex("63c1dd951ffedf6f7fd968ad4efa39b8ed584f162f46e715114ee184f8de9201")
    signed_by(signer, receipt, b"tee-gateway injection taken v1\0" + bytes.fromhex(signer.tee_id[2:]) + digest)


def test_every_flipped_byte_is_noticed(signer: Signer) -> None:
    key = SealingKey(signer)
    sealed = base64.b64decode(sealed_for(key, KEYS))
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(GatewayError) as raised:
            key.unseal({"sealed": base64.b64encode(changed).decode()})
        assert raised.value.status == 400


def test_plain_fields_are_left_alone(signer: Signer) -> None:
    key = SealingKey(signer)
    for body in (KEYS, {}, {"sealed": "x", **KEYS}):
        assert key.unseal(body) is body


async def offer_of(gateway: RunningGateway) -> dict[str, Any]:
    async with gateway.session.get(gateway.url + "/v1/keys/sealing-key") as response:
        assert response.status == 200
        offer: dict[str, Any] = await response.json()
        return offer


async def sealed_post(gateway: RunningGateway, fields: Any) -> Any:
    offer = await offer_of(gateway)
    public = X25519PublicKey.from_public_bytes(base64.b64decode(offer["public_key"]))
    content = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return await gateway.post("/v1/keys", {"sealed": seal(content, offer["tee_id"], public.public_bytes_raw())})


async def test_a_sealed_injection_is_like_a_plain_one(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    offer = await offer_of(gateway)
    sealed = seal(json.dumps(KEYS).encode(), offer["tee_id"], base64.b64decode(offer["public_key"]))
    response = await gateway.post("/v1/keys", {"sealed": sealed})
    assert response.status == 200
    answer = await response.json()
    receipt = answer.pop("receipt")
    assert answer == {"status": "ok", "providers_initialized": ["openai"], "heartbeat_enabled": False}
    assert gateway.services.keyring.key("openai") == SECRET
    assert receipt
    replayed = await gateway.post("/v1/keys", {"sealed": sealed})
    assert replayed.status == 409
    assert (await gateway.post("/v1/keys", KEYS)).status == 409


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"sealed": "%%%"}, "sealed"),
        ({"sealed": ""}, "sealed"),
        ({"sealed": "AAAA"}, "sealed"),
        ({"sealed": None}, "sealed"),
        ({"sealed": ["x"]}, "sealed"),
        ({"sealed": "AAAA", "openai_api_key": SECRET}, "sealed"),
    ],
)
async def test_what_is_no_bundle(start_gateway: StartGateway, body: Any, param: str) -> None:
    gateway = await start_gateway()
    response = await gateway.post("/v1/keys", body)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == param
    assert (await gateway.post("/v1/keys", KEYS)).status == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" + SECRET.encode(),
        f'{{"openai_api_key": "{SECRET}"'.encode(),
        json.dumps([SECRET]).encode(),
        b"[" * 50_000,
        json.dumps({"openai_api_key": f"{SECRET} two words"}).encode(),
        json.dumps({"openai_api_key": [SECRET]}).encode(),
        json.dumps({"sealed": SECRET}).encode(),
    ],
)
async def test_what_a_bundle_must_not_hold_is_refused_without_a_word_of_it(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = await start_gateway()
    response = await sealed_post(gateway, content)
    assert response.status == 400
    assert "secret" not in await response.text() + caplog.text
    assert gateway.services.keyring.configured() == []
    assert (await sealed_post(gateway, KEYS)).status == 200


async def test_nothing_of_a_bundle_is_logged(start_gateway: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = await start_gateway()
    offer = await offer_of(gateway)
    sealed = seal(json.dumps(KEYS).encode(), offer["tee_id"], base64.b64decode(offer["public_key"]))
    assert SECRET not in base64.b64decode(sealed).decode("latin-1")
    await gateway.post("/v1/keys", {"sealed": sealed})
    assert SECRET not in caplog.text
    assert sealed not in caplog.text
