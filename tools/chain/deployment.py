"""What the local chain starts with: contracts at their canonical addresses (facts/x402.md 5), tokens, wallets."""

from dataclasses import dataclass

from eth_keys.datatypes import PrivateKey

from gateway.keccak import keccak256

CHAIN_ID = 8453
"""Base mainnet's, because the OpenGradient SDK registers its payment schemes for no other chain (facts 2.4)."""
NETWORK = f"eip155:{CHAIN_ID}"

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
EXACT_PERMIT2_PROXY = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"
UPTO_PERMIT2_PROXY = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
TEE_REGISTRY = "0x703cB174AEadB35D611858369B4b1111dC9Abda6"


@dataclass(frozen=True, slots=True)
class Token:
    """An asset on the chain; `name` and `version` are those of its EIP-712 domain."""

    symbol: str
    name: str
    version: str
    decimals: int
    address: str

    @property
    def domain(self) -> dict[str, str]:
        """What an x402 offer tells a payer in `extra`."""
        return {"name": self.name, "version": self.version}


USDC = Token("USDC", "USD Coin", "2", 6, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")
OPG = Token("OPG", "OpenGradient", "1", 18, "0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB")
TOKENS = (USDC, OPG)

CONTRACTS = {
    PERMIT2: "Permit2",
    EXACT_PERMIT2_PROXY: "ExactPermit2Proxy",
    UPTO_PERMIT2_PROXY: "UptoPermit2Proxy",
    MULTICALL3: "Multicall3",
    TEE_REGISTRY: "TEERegistry",
    **{token.address: "Token" for token in TOKENS},
}


@dataclass(frozen=True, slots=True)
class Keypair:
    """A key that everybody can derive from its label: worth something on the local chain only."""

    label: str

    @property
    def key(self) -> str:
        return f"0x{keccak256(f'tee-gateway local chain: {self.label}'.encode()).hex()}"

    @property
    def address(self) -> str:
        return PrivateKey(bytes.fromhex(self.key[2:])).public_key.to_checksum_address()


PAYER = Keypair("payer")
PAYEE = Keypair("payee")
FACILITATOR = Keypair("facilitator")
