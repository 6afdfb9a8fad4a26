"""The keys of one gateway, generated once before the workers are forked and shared by all of them."""

import secrets
from dataclasses import dataclass, field

from gateway.key_sealing import SealingKey
from gateway.signing import Signer


@dataclass(frozen=True, slots=True)
class Identity:
    """The signing key with the wallet, the key for sealed injections, and the MAC key of payment quotes."""

    signer: Signer
    sealing_key: SealingKey
    quote_key: bytes = field(repr=False)

    @classmethod
    def generate(cls, signer: Signer | None = None) -> "Identity":
        """A new identity; tests pass their own ``signer``."""
        signer = signer or Signer()
        return cls(signer, SealingKey(signer), secrets.token_bytes(32))
