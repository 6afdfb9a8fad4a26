// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IContractAccount, Signatures} from "./Signatures.sol";

/// A payer that is a contract: whatever its owner's key signs is its own signature (EIP-1271). Whoever claims the
/// code first owns it.
contract ContractAccount is IContractAccount {
    address public owner;

    function claim() external {
        require(owner == address(0), "ContractAccount: claimed already");
        owner = msg.sender;
    }

    function execute(address target, bytes calldata data) external returns (bytes memory) {
        require(msg.sender == owner, "ContractAccount: caller is not the owner");
        (bool ok, bytes memory answer) = target.call(data);
        require(ok, "ContractAccount: call failed");
        return answer;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        return Signatures.approves(owner, digest, signature)
            ? IContractAccount.isValidSignature.selector
            : bytes4(0xffffffff);
    }
}
