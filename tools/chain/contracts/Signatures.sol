// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// EIP-1271: how a contract account accepts a signature.
interface IContractAccount {
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4);
}

/// Signature checks shared by the token and the Permit2 double. An account with code is asked through EIP-1271 and
/// never falls back to ECDSA recovery.
library Signatures {
    /// Half the order of secp256k1: EIP-2 calls a larger `s` malleable.
    uint256 internal constant LARGEST_LOW_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    bytes4 private constant ACCEPTED = IContractAccount.isValidSignature.selector;

    /// True when `account` vouches for `digest`. Both the 65-byte form and the 64-byte form of EIP-2098 are read.
    function approves(address account, bytes32 digest, bytes memory signature) internal view returns (bool) {
        if (account.code.length > 0) return _contractApproves(account, digest, signature);
        (bytes32 r, bytes32 s, uint8 v) = split(signature);
        address recovered = ecrecover(digest, v, r, s);
        return recovered != address(0) && recovered == account;
    }

    /// All zero for a length that no signature has, which recovers to nobody.
    function split(bytes memory signature) internal pure returns (bytes32 r, bytes32 s, uint8 v) {
        if (signature.length != 64 && signature.length != 65) return (0, 0, 0);
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
        }
        if (signature.length == 65) return (r, s, uint8(signature[64]));
        v = uint8(uint256(s) >> 255) + 27;
        s = bytes32((uint256(s) << 1) >> 1);
    }

    function _contractApproves(address account, bytes32 digest, bytes memory signature) private view returns (bool) {
        (bool ok, bytes memory answer) =
            account.staticcall(abi.encodeCall(IContractAccount.isValidSignature, (digest, signature)));
        return ok && answer.length >= 32 && bytes4(answer) == ACCEPTED;
    }
}
