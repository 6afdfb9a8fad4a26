"""Signers that ask for consent: every EIP-712 message is shown before it is signed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.mechanisms.evm.types import TypedDataDomain, TypedDataField

from tools.pay.chain import ChainReader

Consent = Callable[[str], None]
"""Called with the message to be signed; raises an exception to refuse."""


class ConsentingSigner:
    """Implements x402's ClientEvmSigner for typed data only; it never signs transactions."""

    def __init__(self, account: LocalAccount, consent: Consent) -> None:
        self._signer = EthAccountSigner(account)
        self._consent = consent

    @property
    def address(self) -> str:
        return self._signer.address

    def sign_typed_data(
        self,
        domain: TypedDataDomain | dict[str, Any],
        types: dict[str, list[TypedDataField]],
        primary_type: str,
        message: dict[str, Any],
    ) -> bytes:
        self._consent(describe(domain, primary_type, message))
        return self._signer.sign_typed_data(domain, types, primary_type, message)  # type: ignore[arg-type]


class RpcSigner(ConsentingSigner):
    """With an RPC endpoint, which x402's client needs to add an EIP-2612 permit."""

    def __init__(self, account: LocalAccount, consent: Consent, chain: ChainReader) -> None:
        super().__init__(account, consent)
        self.read_contract = chain.call


def describe(domain: TypedDataDomain | Mapping[str, Any], primary_type: str, message: Mapping[str, Any]) -> str:
    """One line per signed field."""
    of = asdict(domain) if is_dataclass(domain) else dict(domain)
    lines = [f"{primary_type}, for"]
    lines += [f"    {name} {value}" for name, value in of.items()]
    return "\n".join([*lines, "  saying", *(f"    {name} {value}" for name, value in _fields(message))])


def _fields(message: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", f"0x{value.hex()}" if isinstance(value, bytes) else value
