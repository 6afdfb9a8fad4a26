"""Compare an attested enclave with its entry in the on-chain TEE registry (facts/x402.md 2.4, 2.6, enclave.md 6b)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.keccak import keccak256
from tools.verify.attestation.binding import Binding, read_binding
from tools.verify.attestation.document import Document
from tools.verify.attestation.measurements import COMPARED_PCRS
from tools.verify.claims import Claim, failed, passed, skip_all
from tools.verify.errors import UnreachableError, UsageError

DEFAULT_RPC = "https://ogevmdevnet.opengradient.ai"
DEFAULT_REGISTRY = "0x703cB174AEadB35D611858369B4b1111dC9Abda6"

CLAIMS = ("registry_key", "registry_cert", "registry_pcrs", "registry_alive")
LLM_PROXY_TYPE = 0
HEARTBEAT_MAX_AGE_SECONDS = 1800

_OHTTP_CONFIG = (
    ("keyId", "uint8"),
    ("kemId", "uint16"),
    ("kdfId", "uint16"),
    ("aeadId", "uint16"),
    ("publicKey", "bytes"),
    ("keyConfig", "bytes"),
    ("registeredAt", "uint256"),
)
_TEE_INFO = (
    ("owner", "address"),
    ("paymentAddress", "address"),
    ("endpoint", "string"),
    ("publicKey", "bytes"),
    ("tlsCertificate", "bytes"),
    ("pcrHash", "bytes32"),
    ("teeType", "uint8"),
    ("enabled", "bool"),
    ("registeredAt", "uint256"),
    ("lastHeartbeatAt", "uint256"),
)


@dataclass(frozen=True, slots=True)
class RegisteredTee:
    """An active entry. Times are Unix seconds; ``block_time`` is that of the latest block when it was read."""

    public_key: bytes
    tls_certificate: bytes
    pcr_hash: bytes
    enabled: bool
    last_heartbeat: int
    block_time: int

    @property
    def tee_id(self) -> str:
        return "0x" + keccak256(self.public_key).hex()


def active_tees(rpc: str, address: str) -> list[RegisteredTee]:
    """``getActiveTEEs`` for LLM proxies: entries that the contract considers enabled, approved and alive."""
    try:
        from web3 import Web3
        from web3.exceptions import Web3Exception
    except ModuleNotFoundError:
        raise UsageError("--chain needs the web3 package") from None
    if not Web3.is_address(address):
        raise UsageError(f"not an address: {address}")
    try:
        chain = Web3(Web3.HTTPProvider(rpc, request_kwargs={"timeout": 20}))
        contract = chain.eth.contract(address=Web3.to_checksum_address(address), abi=[_active_tees_abi()])
        entries = contract.functions.getActiveTEEs(LLM_PROXY_TYPE).call()
        block_time = int(chain.eth.get_block("latest")["timestamp"])
    except (Web3Exception, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnreachableError(f"the registry {address} at {rpc} cannot be read: {type(error).__name__}") from None
    return [
        _registered(dict(zip((name for name, _ in _TEE_INFO), entry, strict=False)), block_time) for entry in entries
    ]


def compare(document: Document, tees: Sequence[RegisteredTee]) -> list[Claim]:
    """One claim per name in CLAIMS. The entry is the one whose key has the attested hash."""
    binding = read_binding(document.user_data)
    if binding is None:
        return [failed("registry_key", "no attested key to look up"), *skip_all(CLAIMS[1:], "no entry")]
    tee = next((tee for tee in tees if hashlib.sha256(tee.public_key).digest() == binding.app_key_hash), None)
    if tee is None:
        reason = f"none of {len(tees)} active entries has the attested key"
        return [failed("registry_key", reason), *skip_all(CLAIMS[1:], "no entry")]
    return [passed("registry_key", tee.tee_id), _certificate(tee, binding), _pcrs(tee, document), _heartbeat(tee)]


def _certificate(tee: RegisteredTee, binding: Binding) -> Claim:
    registered = hashlib.sha256(tee.tls_certificate).digest()
    if registered != binding.tls_certificate_hash:
        return failed("registry_cert", f"registered {registered.hex()}, attested {binding.tls_certificate_hash.hex()}")
    return passed("registry_cert", registered.hex())


def _pcrs(tee: RegisteredTee, document: Document) -> Claim:
    attested = keccak256(b"".join(document.pcrs.get(index, b"") for index in COMPARED_PCRS))
    if tee.pcr_hash != attested:
        return failed("registry_pcrs", f"registered 0x{tee.pcr_hash.hex()}, attested 0x{attested.hex()}")
    return passed("registry_pcrs", f"0x{attested.hex()}")


def _heartbeat(tee: RegisteredTee) -> Claim:
    try:
        heartbeat = datetime.fromtimestamp(tee.last_heartbeat, UTC)
    except (ValueError, OverflowError, OSError):
        return failed("registry_alive", "the last heartbeat is out of range")
    if not tee.enabled:
        return failed("registry_alive", "the entry is disabled")
    if tee.block_time - tee.last_heartbeat > HEARTBEAT_MAX_AGE_SECONDS:
        return failed("registry_alive", f"no heartbeat since {heartbeat:%FT%TZ}")
    return passed("registry_alive", f"last heartbeat {heartbeat:%FT%TZ}")


def _registered(entry: dict[str, Any], block_time: int) -> RegisteredTee:
    return RegisteredTee(
        public_key=bytes(entry["publicKey"]),
        tls_certificate=bytes(entry["tlsCertificate"]),
        pcr_hash=bytes(entry["pcrHash"]),
        enabled=entry["enabled"],
        last_heartbeat=entry["lastHeartbeatAt"],
        block_time=block_time,
    )


def _active_tees_abi() -> dict[str, Any]:
    """The function's ABI; the OHTTP configuration is the last element of each entry's tuple."""
    ohttp = {"name": "ohttpConfig", "type": "tuple", "components": _components(_OHTTP_CONFIG)}
    return {
        "type": "function",
        "name": "getActiveTEEs",
        "stateMutability": "view",
        "inputs": [{"name": "teeType", "type": "uint8"}],
        "outputs": [{"name": "", "type": "tuple[]", "components": [*_components(_TEE_INFO), ohttp]}],
    }


def _components(fields: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"name": name, "type": kind} for name, kind in fields]
