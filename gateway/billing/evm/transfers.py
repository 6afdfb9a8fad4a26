"""Recognition of a payment's transfer among those of a mined transaction (facts/x402.md 4 rows 6, 9, 20).

A transaction is given by its receipt and its call, as ``eth_getTransactionReceipt`` and ``eth_getTransactionByHash``
return them.
"""

from typing import Any

import msgspec

from gateway.billing.definitions import Contracts
from gateway.billing.evm import values as evm
from gateway.billing.evm.rpc import as_integer
from gateway.billing.journal import Entry
from gateway.keccak import keccak256

_CALL, _WORD = len("0x") + 8, 64
_MESSAGE_OFFSETS = (_CALL, _CALL + 5 * _WORD)
"""Offsets of the signed message in a call's hexadecimal data: first, or after the five words of an EIP-2612 permit."""

_TRANSFER = evm.as_hex(keccak256(b"Transfer(address,address,uint256)"))


class TransferMatcher:
    """``contracts`` are Permit2 and the proxies that facilitators call it through."""

    def __init__(self, contracts: Contracts) -> None:
        self._permit2 = evm.address(contracts.permit2)
        self._proxies = {contracts.exact_proxy.lower(), contracts.upto_proxy.lower()}

    def amounts(self, entry: Entry, receipt: dict[str, Any], call: dict[str, Any]) -> list[int]:
        """The amounts transferred from payer to payee by a call with the signed message, the requested amount first."""
        if receipt.get("status") != "0x1" or not self._carries_message(call, entry):
            return []
        topics = transfer_topics(entry)
        amounts = [
            as_integer(event.get("data"))
            for event in log_entries(receipt.get("logs"))
            if str(event.get("address")).lower() == entry.token and _topics(event) == topics
        ]
        return sorted(amounts, key=lambda amount: amount != entry.amount)

    def _carries_message(self, call: dict[str, Any], entry: Entry) -> bool:
        """Whether a transaction's call data contains the signed message, in a direct call at its proper offset.

        Elsewhere in a direct call it proves nothing: payers choose their nonces, and contract accounts the bytes of
        their signatures, so either can be made to contain another payment's message.
        """
        data = str(call.get("input") or call.get("data") or "").lower()
        message = self._signed_words(entry).hex()
        called = str(call.get("to")).lower()
        if called in self._proxies or called == entry.token:
            return any(data.startswith(message, offset) for offset in _MESSAGE_OFFSETS)
        return message in data

    def _signed_words(self, entry: Entry) -> bytes:
        """The fields of the signed message that are adjacent in a settlement's call data (facts/x402.md 1.3, 3.2)."""
        if entry.nonce_contract == self._permit2:
            return evm.words((evm.address(entry.token), entry.cap, entry.nonce, entry.deadline))
        valid_after = int(msgspec.json.decode(entry.payment.payload)["authorization"]["validAfter"])
        payee = evm.address(entry.payment.requirements["payTo"])
        return evm.words((entry.payer, payee, entry.cap, valid_after, entry.deadline, entry.nonce))


def transfer_topics(entry: Entry) -> list[str]:
    """The log topics of a transfer from the payer to the payee."""
    payee = evm.address(entry.payment.requirements["payTo"])
    return [_TRANSFER, evm.as_hex(evm.word(entry.payer)), evm.as_hex(evm.word(payee))]


def log_entries(value: Any) -> list[dict[str, Any]]:
    """The events in the ``logs`` of a receipt or the result of ``eth_getLogs``."""
    return [event for event in value if isinstance(event, dict)] if isinstance(value, list) else []


def _topics(event: dict[str, Any]) -> list[str]:
    topics = event.get("topics")
    return [str(topic).lower() for topic in topics] if isinstance(topics, list) else []
