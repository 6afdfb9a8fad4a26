"""PyPI x402's facilitator classes on the local chain: verify, settle, and the settlement faults of `faults.py`."""

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from web3.exceptions import TimeExhausted
from x402 import x402FacilitatorSync
from x402.extensions.eip2612_gas_sponsoring import EIP2612_GAS_SPONSORING
from x402.mechanisms.evm.exact import ExactEvmFacilitatorScheme
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer
from x402.mechanisms.evm.types import TransactionReceipt
from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme
from x402.schemas import PaymentPayload, PaymentRequirements

from tools.chain.contract import Contract
from tools.chain.deployment import NETWORK
from tools.chain.faults import Denied, NothingSettled, OtherAmount, OtherPayee, Pending, SettlementFault, WholeAmount

THREADS = 32
"""The classes are blocking; this many calls are in progress at once."""

Json = dict[str, Any]
T = TypeVar("T")

_receipts_missing = contextvars.ContextVar("receipts_missing", default=False)


class Signer(FacilitatorWeb3Signer):
    """The package's signer, which can be made to miss receipts, and whose confirmation timeout can be changed."""

    def wait_for_transaction_receipt(self, tx_hash: str) -> TransactionReceipt:
        if _receipts_missing.get():
            raise TimeExhausted(f"Transaction {tx_hash} is not in the chain")
        return super().wait_for_transaction_receipt(tx_hash)

    @property
    def confirmation_timeout(self) -> float:
        """Seconds to wait for a receipt before a settlement counts as pending."""
        return self._confirmation_timeout_seconds

    @confirmation_timeout.setter
    def confirmation_timeout(self, seconds: float) -> None:
        self._confirmation_timeout_seconds = seconds


class PaymentBody:
    """A parsed `{x402Version, paymentPayload, paymentRequirements}`. Raises ValueError when it is not one."""

    def __init__(self, body: Any) -> None:
        if not isinstance(body, Mapping) or not {"paymentPayload", "paymentRequirements"} <= body.keys():
            raise ValueError("missing paymentPayload or paymentRequirements")
        self.payload = PaymentPayload.model_validate(body["paymentPayload"])
        self.requirements = PaymentRequirements.model_validate(body["paymentRequirements"])

    @property
    def payer(self) -> str:
        """The payer that the payload names."""
        signed = self.payload.payload.get("permit2Authorization") or self.payload.payload.get("authorization") or {}
        return str(signed.get("from", ""))

    @property
    def signed_amount(self) -> str:
        """The amount that the payer signed."""
        signed = self.payload.payload
        if (permit := signed.get("permit2Authorization")) is not None:
            return str(permit["permitted"]["amount"])
        return str(signed["authorization"]["value"])

    def answer(self, *, success: bool, **fields: Any) -> Json:
        """A SettleResponse with these fields, unchecked."""
        return {"success": success, "network": str(self.requirements.network), "payer": self.payer, **fields}


class Settler:
    """Verifies and settles exact and upto payments with one key, in a thread pool."""

    def __init__(self, rpc_url: str, key: str, confirmation_timeout: float) -> None:
        self.signer = Signer(key, rpc_url, confirmation_timeout_seconds=confirmation_timeout)
        self._facilitator = x402FacilitatorSync()
        self._facilitator.register([NETWORK], ExactEvmFacilitatorScheme(self.signer))
        self._facilitator.register([NETWORK], UptoEvmFacilitatorScheme(self.signer))
        self._facilitator.register_extension(EIP2612_GAS_SPONSORING)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="facilitator")

    def close(self) -> None:
        """Blocks until calls in progress are done."""
        self._threads.shutdown(cancel_futures=True)

    def supported(self) -> Json:
        return _dump(self._facilitator.get_supported())

    async def verify(self, body: PaymentBody) -> Json:
        return _dump(await self._run(lambda: self._facilitator.verify(body.payload, body.requirements)))

    async def settle(self, body: PaymentBody, fault: SettlementFault | None = None) -> Json:
        requested = body.requirements.amount
        match fault:
            case None:
                return await self._settle(body)
            case Pending():
                with _missing_receipts():
                    return await self._settle(body)
            case NothingSettled():
                return body.answer(success=True, transaction=f"0x{os.urandom(32).hex()}", amount=requested)
            case OtherAmount(amount, reported):
                body.requirements = body.requirements.model_copy(update={"amount": str(amount)})
                settled = await self._settle(body)
                return settled | {"amount": requested if reported is None else str(reported)}
            case OtherPayee(payee):
                transaction = await self._run(lambda: self._pay(body.requirements.asset, payee, int(requested)))
                return body.answer(success=True, transaction=transaction, amount=requested)
            case Denied():
                await self._settle(body)
                return body.answer(success=False, errorReason="transaction_failed", transaction="")
            case WholeAmount():
                if requested == body.signed_amount:
                    return await self._settle(body)
                return body.answer(success=False, errorReason="permit2_amount_mismatch", transaction="")

    async def relay_heartbeat(self, registry: str, tee_id: bytes, timestamp: int, signature: bytes) -> Json:
        """Sends a heartbeat to the registry; `success` says whether the registry took it."""
        return await self._run(lambda: self._send_heartbeat(registry, tee_id, timestamp, signature))

    async def _settle(self, body: PaymentBody) -> Json:
        return _dump(await self._run(lambda: self._facilitator.settle(body.payload, body.requirements)))

    async def _run(self, work: Callable[[], T]) -> T:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)

    def _pay(self, asset: str, payee: str, amount: int) -> str:
        abi = Contract.load("Token").abi
        self.signer.wait_for_transaction_receipt(
            self.signer.write_contract(asset, abi, "mint", self.signer.address, amount)
        )
        transaction = self.signer.write_contract(asset, abi, "transfer", payee, amount)
        self.signer.wait_for_transaction_receipt(transaction)
        return transaction

    def _send_heartbeat(self, registry: str, tee_id: bytes, timestamp: int, signature: bytes) -> Json:
        abi = Contract.load("TEERegistry").abi
        transaction = self.signer.write_contract(registry, abi, "heartbeat", tee_id, timestamp, signature)
        receipt = self.signer.wait_for_transaction_receipt(transaction)
        return {"success": receipt.status == 1, "txHash": transaction}


@contextmanager
def _missing_receipts() -> Iterator[None]:
    token = _receipts_missing.set(True)
    try:
        yield
    finally:
        _receipts_missing.reset(token)


def _dump(response: Any) -> Json:
    dumped: Json = response.model_dump(by_alias=True, exclude_none=True, mode="json")
    return dumped
