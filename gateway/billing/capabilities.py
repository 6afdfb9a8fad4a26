"""The facilitator's /supported, reduced to the schemes and networks that can be offered (facts/x402.md 1.5)."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.billing.definitions import Definitions, Network
from gateway.billing.evm import values as evm
from gateway.billing.x402 import VERSION, Supported, SupportedKind


class UnusableFacilitatorError(Exception):
    """Nothing can be offered from this ``/supported``."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Pairs of scheme and network id, and the facilitator's addresses by network id.

    ``facilitators`` has the address to name in upto offers; ``signers`` every address that may have been named before,
    because a facilitator with several signers returns a different one each time.
    """

    kinds: frozenset[tuple[str, str]]
    facilitators: Mapping[str, bytes]
    signers: Mapping[str, frozenset[bytes]]
    extensions: frozenset[str]


NO_CAPABILITIES = Capabilities(frozenset(), {}, {}, frozenset())
"""While nothing is known of the facilitator."""


def read(supported: Supported, definitions: Definitions) -> Capabilities:
    """The capabilities on the defined networks; raises UnusableFacilitatorError if there are none."""
    kinds: set[tuple[str, str]] = set()
    facilitators: dict[str, bytes] = {}
    signers: dict[str, frozenset[bytes]] = {}
    for network in definitions.networks.values():
        listed = _listed_signers(supported, network)
        for kind in supported.kinds:
            if kind.x402_version != VERSION or kind.network != network.id:
                continue
            if kind.scheme == "upto":
                named = _facilitator(kind)
                if named is None and not listed:
                    continue
                facilitators[network.id] = named or min(listed)
                listed |= {facilitators[network.id]}
            kinds.add((kind.scheme, network.id))
        signers[network.id] = frozenset(listed)
    if not any((offer.scheme, definitions.tokens[offer.token].network) in kinds for offer in definitions.offers):
        raise UnusableFacilitatorError("the facilitator supports none of the configured schemes and networks")
    return Capabilities(frozenset(kinds), facilitators, signers, frozenset(supported.extensions or ()))


def _listed_signers(supported: Supported, network: Network) -> set[bytes]:
    family = f"{network.id.partition(':')[0]}:*"
    signers = supported.signers or {}
    texts = [*(signers.get(network.id) or ()), *(signers.get(family) or ())]
    return {signer for text in texts if (signer := _address(text)) is not None}


def _facilitator(kind: SupportedKind) -> bytes | None:
    text = (kind.extra or {}).get("facilitatorAddress")
    return _address(text) if isinstance(text, str) else None


def _address(text: str) -> bytes | None:
    try:
        value = evm.address(text)
    except ValueError:
        return None
    return value if any(value) else None
