"""Records in the local TEE registry (contracts/TEERegistry.sol), as clients of the real one read them."""

from dataclasses import dataclass
from typing import Any

from gateway.keccak import keccak256
from tools.chain.deployment import TEE_REGISTRY
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet

LLM_PROXY = 0
"""The `teeType` of a gateway."""

NO_OHTTP = (0, 0, 0, 0, b"", b"", 0)


@dataclass(frozen=True, slots=True)
class TEERecord:
    """What an operator registers. `public_key` and `tls_certificate` are DER; the key is an SPKI."""

    endpoint: str
    public_key: bytes
    tls_certificate: bytes
    payment_address: str
    pcr_hash: bytes = bytes(32)
    tee_type: int = LLM_PROXY
    enabled: bool = True

    @property
    def tee_id(self) -> bytes:
        return keccak256(self.public_key)


async def register(chain: LocalChain, operator: Wallet, record: TEERecord) -> bytes:
    """Writes a record, which is active for half an hour and longer with heartbeats; its TEE id."""
    info = (
        operator.address,
        record.payment_address,
        record.endpoint,
        record.public_key,
        record.tls_certificate,
        record.pcr_hash,
        record.tee_type,
        record.enabled,
        0,
        0,
        NO_OHTTP,
    )
    await chain.send(operator, "TEERegistry", TEE_REGISTRY, "setTEE", info)
    return record.tee_id


async def active_tees(chain: LocalChain, tee_type: int = LLM_PROXY) -> list[tuple[Any, ...]]:
    """The 11-field tuples of facts/x402.md 2.6."""
    return list(await chain.call("TEERegistry", TEE_REGISTRY, "getActiveTEEs", tee_type))
