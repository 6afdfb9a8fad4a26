// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// The registry as clients read it: `getActiveTEEs(uint8)` and its neighbours with the published 11-field record.
///
/// A fixture: anyone may write a record and approve PCRs, an attestation document is read and not verified, and a
/// heartbeat's signature is not checked (both need the precompile at 0x900 of the OpenGradient chain); its times are.
contract TEERegistry {
    struct OhttpConfig {
        uint8 keyId;
        uint16 kemId;
        uint16 kdfId;
        uint16 aeadId;
        bytes publicKey;
        bytes keyConfig;
        uint256 registeredAt;
    }

    struct TEEInfo {
        address owner;
        address paymentAddress;
        string endpoint;
        bytes publicKey;
        bytes tlsCertificate;
        bytes32 pcrHash;
        uint8 teeType;
        bool enabled;
        uint256 registeredAt;
        uint256 lastHeartbeatAt;
        OhttpConfig ohttpConfig;
    }

    struct PCRMeasurements {
        bytes pcr0;
        bytes pcr1;
        bytes pcr2;
    }

    uint256 public constant HEARTBEAT_MAX_AGE = 1800;

    mapping(uint8 teeType => mapping(bytes32 pcrHash => bool)) public isPCRApproved;
    mapping(bytes32 teeId => TEEInfo) private _tees;
    bytes32[] private _ids;

    event PCRApproved(bytes32 indexed pcrHash, uint8 indexed teeType, string version);
    event TEERegistered(bytes32 indexed teeId, address indexed owner, uint8 teeType);
    event HeartbeatReceived(bytes32 indexed teeId, uint256 timestamp);

    error AttestationInvalid(string reason);
    error HeartbeatTimestampInvalid(uint256 timestamp);
    error PCRNotApproved();
    error TEEAlreadyExists();
    error TEENotFound(bytes32 teeId);

    function approvePCR(PCRMeasurements calldata pcrs, string calldata version, uint8 teeType) external {
        bytes32 pcrHash = keccak256(abi.encodePacked(pcrs.pcr0, pcrs.pcr1, pcrs.pcr2));
        isPCRApproved[teeType][pcrHash] = true;
        emit PCRApproved(pcrHash, teeType, version);
    }

    function registerTEEWithAttestation(
        bytes calldata attestationDocument,
        bytes calldata signingPublicKey,
        bytes calldata tlsCertificate,
        address paymentAddress,
        string calldata endpoint,
        uint8 teeType
    ) external returns (bytes32 teeId) {
        TEEInfo memory info;
        info.pcrHash = _statedPCRs(attestationDocument);
        if (!isPCRApproved[teeType][info.pcrHash]) revert PCRNotApproved();
        if (_tees[keccak256(signingPublicKey)].registeredAt != 0) revert TEEAlreadyExists();
        info.owner = msg.sender;
        info.paymentAddress = paymentAddress;
        info.endpoint = endpoint;
        info.publicKey = signingPublicKey;
        info.tlsCertificate = tlsCertificate;
        info.teeType = teeType;
        info.enabled = true;
        return _write(info);
    }

    /// Writes a record without asking for anything.
    function setTEE(TEEInfo memory info) external returns (bytes32 teeId) {
        return _write(info);
    }

    function setEnabled(bytes32 teeId, bool enabled) external {
        _record(teeId).enabled = enabled;
    }

    function heartbeat(bytes32 teeId, uint256 timestamp, bytes calldata) external {
        TEEInfo storage tee = _record(teeId);
        if (timestamp > block.timestamp || block.timestamp - timestamp > HEARTBEAT_MAX_AGE) {
            revert HeartbeatTimestampInvalid(timestamp);
        }
        tee.lastHeartbeatAt = block.timestamp;
        emit HeartbeatReceived(teeId, timestamp);
    }

    function getTEE(bytes32 teeId) external view returns (TEEInfo memory) {
        return _record(teeId);
    }

    function isTEEEnabled(bytes32 teeId) public view returns (bool) {
        return _tees[teeId].enabled;
    }

    function isTEEActive(bytes32 teeId) public view returns (bool) {
        return isTEEEnabled(teeId) && block.timestamp - _tees[teeId].lastHeartbeatAt <= HEARTBEAT_MAX_AGE;
    }

    function getTEEsByType(uint8 teeType) external view returns (bytes32[] memory) {
        return _select(teeType, _any);
    }

    function getEnabledTEEs(uint8 teeType) external view returns (bytes32[] memory) {
        return _select(teeType, isTEEEnabled);
    }

    function getActiveTEEs(uint8 teeType) external view returns (TEEInfo[] memory active) {
        bytes32[] memory ids = _select(teeType, isTEEActive);
        active = new TEEInfo[](ids.length);
        for (uint256 i = 0; i < ids.length; i++) {
            active[i] = _tees[ids[i]];
        }
    }

    /// The record lies under keccak256 of its public key (SPKI DER), dated now and alive from now on.
    function _write(TEEInfo memory info) private returns (bytes32 teeId) {
        teeId = keccak256(info.publicKey);
        if (_tees[teeId].registeredAt == 0) _ids.push(teeId);
        info.registeredAt = block.timestamp;
        info.lastHeartbeatAt = block.timestamp;
        _tees[teeId] = info;
        emit TEERegistered(teeId, info.owner, info.teeType);
    }

    /// keccak256 of PCR0 to PCR2 as the document has them: CBOR `"pcrs": {0: bytes(48), 1: bytes(48), 2: bytes(48), …}`.
    function _statedPCRs(bytes calldata document) private pure returns (bytes32) {
        for (uint256 i = 0; i + 159 <= document.length; i++) {
            if (bytes5(document[i:i + 5]) != "dpcrs") continue;
            bytes calldata pcrs = document[i + 6:i + 159];
            for (uint256 n = 0; n < 3; n++) {
                if (uint24(bytes3(pcrs[51 * n:51 * n + 3])) != (n << 16 | 0x5830)) {
                    revert AttestationInvalid("PCR0 to PCR2 are not first");
                }
            }
            return keccak256(bytes.concat(pcrs[3:51], pcrs[54:102], pcrs[105:153]));
        }
        revert AttestationInvalid("no PCRs");
    }

    function _any(bytes32) private pure returns (bool) {
        return true;
    }

    function _record(bytes32 teeId) private view returns (TEEInfo storage tee) {
        tee = _tees[teeId];
        if (tee.registeredAt == 0) revert TEENotFound(teeId);
    }

    function _select(uint8 teeType, function(bytes32) view returns (bool) wanted)
        private
        view
        returns (bytes32[] memory selected)
    {
        selected = new bytes32[](_ids.length);
        uint256 count = 0;
        for (uint256 i = 0; i < _ids.length; i++) {
            if (_tees[_ids[i]].teeType == teeType && wanted(_ids[i])) selected[count++] = _ids[i];
        }
        assembly ("memory-safe") {
            mstore(selected, count)
        }
    }
}
