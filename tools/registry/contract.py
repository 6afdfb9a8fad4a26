"""Calls and transactions of the TEE registry, with web3 (facts/enclave.md 6b, facts/x402.md 2.6).

The ABI is that of the local chain's fixture, which has the published functions and the published 11-field record.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from eth_account.signers.local import LocalAccount
from requests import RequestException
from web3 import Web3
from web3.exceptions import ContractLogicError, TimeExhausted, Web3Exception

from gateway.keccak import keccak256
from tools.chain.contract import Contract
from tools.verify.attestation.measurements import Measurements
from tools.verify.errors import UnreachableError, VerifyError

RPC_TIMEOUT_SECONDS = 30
RECEIPT_SECONDS = 180


class ChainRefusedError(VerifyError):
    """The contract rejected or reverted a call or transaction."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Tee:
    """A record of the registry. ``heartbeat`` and ``registered`` are block times."""

    tee_id: str
    owner: str
    payment_address: str
    endpoint: str
    public_key: bytes
    tls_certificate: bytes
    pcr_hash: bytes
    tee_type: int
    enabled: bool
    registered: datetime
    heartbeat: datetime

    @classmethod
    def from_record(cls, record: Any) -> "Tee":
        owner, payment, endpoint, key, certificate, pcr_hash, kind, enabled, registered, heartbeat, *_ = record
        return cls(
            tee_id="0x" + keccak256(bytes(key)).hex(),
            owner=owner,
            payment_address=payment,
            endpoint=endpoint,
            public_key=bytes(key),
            tls_certificate=bytes(certificate),
            pcr_hash=bytes(pcr_hash),
            tee_type=kind,
            enabled=enabled,
            registered=datetime.fromtimestamp(registered, UTC),
            heartbeat=datetime.fromtimestamp(heartbeat, UTC),
        )


class Registry:
    """The registry at ``address``, through the node at ``rpc``. Methods raise UnreachableError, ChainRefusedError."""

    def __init__(self, rpc: str, address: str) -> None:
        self._location = f"the registry {address} at {rpc}"
        self._artifact = Contract.load("TEERegistry")
        self._web3 = Web3(Web3.HTTPProvider(rpc, request_kwargs={"timeout": RPC_TIMEOUT_SECONDS}))
        self._contract = self._web3.eth.contract(Web3.to_checksum_address(address), abi=self._artifact.abi)

    def active(self, tee_type: int) -> list[Tee]:
        with self._map_errors():
            return [Tee.from_record(record) for record in self._call("getActiveTEEs", tee_type)]

    def tee(self, tee_id: str) -> Tee:
        """Raises ChainRefusedError if there is no such record."""
        with self._map_errors():
            return Tee.from_record(self._call("getTEE", bytes.fromhex(tee_id[2:])))

    def is_active(self, tee_id: str) -> bool:
        return bool(self._call("isTEEActive", bytes.fromhex(tee_id[2:])))

    def is_approved(self, tee_type: int, pcr_hash: bytes) -> bool:
        return bool(self._call("isPCRApproved", tee_type, pcr_hash))

    def approve(self, account: LocalAccount, measurements: Measurements, version: str, tee_type: int) -> str:
        """Like ``register``, returns the hash of the mined transaction. Raises ChainRefusedError if it reverted."""
        return self._send(account, "approvePCR", measurements.pcrs, version, tee_type)

    def register(
        self,
        account: LocalAccount,
        document: bytes,
        public_key: bytes,
        certificate: bytes,
        payment_address: str,
        endpoint: str,
        tee_type: int,
    ) -> str:
        """``document`` is raw CBOR, ``public_key`` and ``certificate`` are DER."""
        payment = Web3.to_checksum_address(payment_address)
        return self._send(
            account, "registerTEEWithAttestation", document, public_key, certificate, payment, endpoint, tee_type
        )

    def _call(self, function: str, *arguments: Any) -> Any:
        with self._map_errors():
            return self._contract.functions[function](*arguments).call()

    def _send(self, account: LocalAccount, function: str, *arguments: Any) -> str:
        with self._map_errors():
            transaction = self._contract.functions[function](*arguments).build_transaction(
                {"from": account.address, "nonce": self._web3.eth.get_transaction_count(account.address, "pending")}
            )
            signed = account.sign_transaction(cast("dict[str, Any]", transaction))
            sent = self._web3.eth.send_raw_transaction(signed.raw_transaction)
            receipt = self._web3.eth.wait_for_transaction_receipt(sent, timeout=RECEIPT_SECONDS)
        if receipt["status"] != 1:
            raise ChainRefusedError(f"{function} was mined and reverted: {sent.to_0x_hex()}")
        return sent.to_0x_hex()

    @contextmanager
    def _map_errors(self) -> Iterator[None]:
        try:
            yield
        except ContractLogicError as error:
            raise ChainRefusedError(f"{self._location} refuses: {self._reason(error)}") from None
        except TimeExhausted:
            raise UnreachableError(
                f"no receipt after {RECEIPT_SECONDS} s; the transaction may still be mined"
            ) from None
        except (Web3Exception, RequestException, OSError, ValueError, TypeError, OverflowError) as error:
            raise UnreachableError(f"{self._location} cannot be used: {type(error).__name__}") from None

    def _reason(self, error: ContractLogicError) -> str:
        data = error.data
        return self._artifact.error(bytes.fromhex(data[2:])) if isinstance(data, str) and data else str(error.message)
