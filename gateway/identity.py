"""Who a gateway is: made once, before any worker, and the same in all of them."""

import secrets
from dataclasses import dataclass, field

from gateway.key_sealing import SealingKey
from gateway.signing import Signer


@dataclass(frozen=True, slots=True)
class Identity:
    """The signing key with the wallet, the key for sealed injections, and the secret under payment quotes."""

    signer: Signer
    sealing_key: SealingKey
    quote_key: bytes = field(repr=False)

    @classmethod
    def born(cls, signer: Signer | None = None) -> "Identity":
        """A new one; ``signer`` only where a test brings its own."""
        signer = signer or Signer()
        return cls(signer, SealingKey(signer), secrets.token_bytes(32))
