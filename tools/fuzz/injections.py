"""The one-time injection, plain or sealed: usable keys and configuration, or a 400 that reveals no secret."""

import base64
import json
from dataclasses import dataclass
from functools import cache
from random import Random

from gateway.catalog import bundled
from gateway.key_sealing import SealingKey, seal
from gateway.keyring import Injection, Keyring
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.json_body import decode
from gateway.settings import Settings
from gateway.signing import Signer
from tools.fuzz.mutations import json_value, mutate_bytes, mutate_json
from tools.fuzz.target import BrokenPropertyError, Target

_SECRET = "sk-secret"  # noqa: S105 - nobody's
_ADDRESS = "0x" + "aB" * 20
_BODY = {
    "openai_api_key": f"{_SECRET}-1",
    "bytedance_api_key": f"{_SECRET}-2",
    "nous_api_key": "",
    "facilitator_url": "https://facilitator.example/v2/",
    "evm_payment_address": _ADDRESS,
    "evm_rpc_url": "http://127.0.0.1:8545",
    "coingecko_api_key": f"{_SECRET}-3",
    "journal_key": "5e" * 32,
    "heartbeat_contract_address": _ADDRESS,
    "tee_heartbeat_interval": 900,
    "tee_heartbeat_buffer": 30,
}
_URLS = (
    "https://a.example/\r\nX-Evil: 1",
    "https://a b.example",
    "https://\x00.example",
    "https://[::1",
    "https://a.example:99999",
    "https://user@a.example",
    "http://169.254.169.254",
    "HTTPS://A.EXAMPLE/",
    "https://a.example?x",
    "file:///etc/passwd",
)


@dataclass(frozen=True)
class Bundle:
    """An injection: ``content`` plain, or sealed to the gateway and then damaged with the seed ``damage``."""

    content: bytes
    sealed: bool
    damage: int | None


def _make(random: Random) -> Bundle:
    body = {name: _BODY[name] for name in random.sample(sorted(_BODY), random.randint(1, len(_BODY)))}
    if random.random() < 0.2:
        body[random.choice(("facilitator_url", "evm_rpc_url"))] = random.choice(_URLS)
    content = json.dumps(mutate_json(random, body, random.choice((0, 0, 1, 2)))).encode()
    sealed = random.random() < 0.5
    if not sealed and random.random() < 0.2:
        content = json.dumps({"sealed": json_value(random)}).encode()
    if sealed and random.random() < 0.1:
        content = random.choice((b"", b"\xff", b"[" * 5000, b"null", b"[]", b"{"))
    return Bundle(content, sealed, random.getrandbits(32) if sealed and random.random() < 0.5 else None)


@cache
def _sealing_key() -> SealingKey:
    return SealingKey(Signer())


def _sent(bundle: Bundle) -> tuple[bytes, bool]:
    """The request body, and whether a sealed one was damaged."""
    if not bundle.sealed:
        return bundle.content, False
    offer = _sealing_key().public_info
    sealed = seal(bundle.content, str(offer["tee_id"]), base64.b64decode(str(offer["public_key"])))
    sent = sealed
    if bundle.damage is not None:
        damage = Random(bundle.damage)
        raw = mutate_bytes(damage, base64.b64decode(sealed), damage.randint(1, 2))
        sent = base64.b64encode(raw).decode()
        if damage.random() < 0.3:
            sent = mutate_bytes(damage, sent.encode(), 1).decode("latin-1")
    return json.dumps({"sealed": sent}).encode(), sent != sealed


def _check(bundle: Bundle) -> None:
    keyring = Keyring(bundled().providers, Settings())
    body, damaged = _sent(bundle)
    try:
        injection = keyring.check(_sealing_key().unseal(decode(body)))
    except GatewayError as error:
        told = error.body()
        if error.status != 400 or not isinstance(json.loads(told), dict) or _SECRET.encode() in told:
            raise BrokenPropertyError(f"refused with {error.status} {told!r}") from error
        return
    if damaged:
        raise BrokenPropertyError("a bundle that was changed on its way was opened")
    _check_usable(keyring, injection)


def _check_usable(keyring: Keyring, injection: Injection) -> None:
    keyring.store(injection)
    if _SECRET in f"{keyring!r} {injection!r}":
        raise BrokenPropertyError("a secret is disclosed")
    values = [keyring.key(provider) for provider in keyring.configured()]
    values += [injection.facilitator_url, injection.evm_rpc_url, injection.evm_payment_address, injection.journal_key]
    for value in filter(None, values):
        if not value.isascii() or not value.isprintable() or " " in value:
            raise BrokenPropertyError(f"taken: {value!r}")
    try:
        keyring.check({})
    except GatewayError as error:
        if error.status == 409:
            return
    raise BrokenPropertyError("a second injection is taken")


INJECTIONS = Target("injections", _make, _check)
