"""Contracts by their committed artefacts (artifacts/*.json): encoding calls, decoding answers, naming reverts."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode

from gateway.keccak import keccak256

ARTIFACTS = Path(__file__).parent / "artifacts"
ERROR_STRING = bytes.fromhex("08c379a0")
"""Selector of Solidity's `Error(string)`, which `require(…, "reason")` reverts with."""


def abi_type(parameter: Mapping[str, Any]) -> str:
    """The canonical type of an ABI parameter: `uint256`, `(address,uint256)[]`."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(abi_type, parameter['components']))}){kind.removeprefix('tuple')}"


class Contract:
    """One compiled contract: `code` as it lies on the chain, `abi`, and `storage` (variable name to slot)."""

    def __init__(self, artifact: Mapping[str, Any]) -> None:
        self.name: str = artifact["contract"]
        self.abi: list[dict[str, Any]] = artifact["abi"]
        self.code = bytes.fromhex(artifact["deployedBytecode"].removeprefix("0x"))
        self.storage: Mapping[str, int] = artifact["storage"]

    @classmethod
    @functools.cache
    def load(cls, name: str) -> "Contract":
        return cls(json.loads((ARTIFACTS / f"{name}.json").read_bytes()))

    def encode(self, function: str, *arguments: Any) -> bytes:
        """Calldata of a call. Structs are tuples in declaration order; of overloads, the argument count decides."""
        entry = self._function(function, len(arguments))
        types = [abi_type(parameter) for parameter in entry["inputs"]]
        return self._selector(entry) + encode(types, arguments)

    def decode(self, function: str, data: bytes) -> Any:
        """What a call returned: the value itself when there is one, else a tuple."""
        values = decode([abi_type(output) for output in self._function(function)["outputs"]], data)
        return values[0] if len(values) == 1 else values

    def error(self, data: bytes) -> str:
        """A revert as `InvalidNonce` or as its reason string; empty data, or data of no known error, in hex."""
        if data.startswith(ERROR_STRING):
            return str(decode(["string"], data[4:])[0])
        names = {self._selector(entry): entry["name"] for entry in self.abi if entry["type"] == "error"}
        return str(names.get(data[:4], f"0x{data.hex()}"))

    def _function(self, name: str, arity: int | None = None) -> Mapping[str, Any]:
        for entry in self.abi:
            if entry["type"] == "function" and entry["name"] == name and arity in (None, len(entry["inputs"])):
                return entry
        raise LookupError(f"{self.name} has no function {name} of {arity} arguments")

    @staticmethod
    def _selector(entry: Mapping[str, Any]) -> bytes:
        return keccak256(f"{entry['name']}({','.join(map(abi_type, entry['inputs']))})".encode())[:4]
