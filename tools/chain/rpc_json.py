"""Ethereum's JSON-RPC forms: quantities, data, blocks, transactions, receipts, logs (execution-apis specification)."""

from typing import Any

from eth.abc import BlockAPI, BlockHeaderAPI, SignedTransactionAPI
from eth_utils.address import to_checksum_address

from tools.chain.evm import Log, Mined, base_fee, logs_of

Json = Any


def quantity(value: int) -> str:
    return hex(value)


def data(value: bytes) -> str:
    return f"0x{value.hex()}"


def address(value: bytes) -> str | None:
    return to_checksum_address(value) if value else None


def block(header: BlockHeaderAPI, body: BlockAPI, *, full: bool) -> dict[str, Json]:
    transactions = [
        transaction(each, header, index) if full else data(each.hash) for index, each in enumerate(body.transactions)
    ]
    return {
        "number": quantity(header.block_number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "mixHash": data(header.mix_hash),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "miner": address(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "extraData": data(header.extra_data),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "baseFeePerGas": quantity(base_fee(header)),
        "uncles": [],
        "transactions": transactions,
    }


def transaction(each: SignedTransactionAPI, header: BlockHeaderAPI | None, index: int | None) -> dict[str, Json]:
    """`header` and `index` are None while the transaction waits."""
    body: dict[str, Json] = {
        "type": quantity(_type(each)),
        "hash": data(each.hash),
        "nonce": quantity(each.nonce),
        "from": address(each.sender),
        "to": address(each.to),
        "value": quantity(each.value),
        "gas": quantity(each.gas),
        "gasPrice": quantity(_effective_gas_price(each, header)),
        "input": data(each.data),
        "r": quantity(each.r),
        "s": quantity(each.s),
        "blockHash": data(header.hash) if header else None,
        "blockNumber": quantity(header.block_number) if header else None,
        "transactionIndex": None if index is None else quantity(index),
    }
    if each.chain_id is not None:
        body["chainId"] = quantity(each.chain_id)
    if _type(each) == 0:
        parity_base = 27 if each.chain_id is None else 35 + 2 * each.chain_id
        return body | {"v": quantity(parity_base + each.y_parity)}
    body |= {"v": quantity(each.y_parity), "yParity": quantity(each.y_parity), "accessList": _access_list(each)}
    if _type(each) >= 2:
        body["maxFeePerGas"] = quantity(each.max_fee_per_gas)
        body["maxPriorityFeePerGas"] = quantity(each.max_priority_fee_per_gas)
    return body


def receipt(mined: Mined) -> dict[str, Json]:
    each, header = mined.transaction, mined.header
    return {
        "type": quantity(_type(each)),
        "status": quantity(int.from_bytes(mined.receipt.state_root, "big")),
        "transactionHash": data(each.hash),
        "transactionIndex": quantity(mined.index),
        "blockHash": data(header.hash),
        "blockNumber": quantity(header.block_number),
        "from": address(each.sender),
        "to": address(each.to),
        "contractAddress": address(mined.created or b""),
        "gasUsed": quantity(mined.gas_used),
        "cumulativeGasUsed": quantity(mined.receipt.gas_used),
        "effectiveGasPrice": quantity(_effective_gas_price(each, header)),
        "logs": [log(entry) for entry in logs_of(mined)],
        "logsBloom": data(mined.receipt.bloom.to_bytes(256, "big")),
    }


def log(entry: Log) -> dict[str, Json]:
    block_number, block_hash = entry.mined_in
    return {
        "address": address(entry.address),
        "topics": [data(topic) for topic in entry.topics],
        "data": data(entry.data),
        "blockNumber": quantity(block_number),
        "blockHash": data(block_hash),
        "transactionHash": data(entry.transaction_hash),
        "transactionIndex": quantity(entry.transaction_index),
        "logIndex": quantity(entry.index),
        "removed": False,
    }


def _access_list(each: SignedTransactionAPI) -> list[Json]:
    return [
        {"address": address(account), "storageKeys": [data(slot.to_bytes(32, "big")) for slot in slots]}
        for account, slots in each.access_list
    ]


def _type(each: SignedTransactionAPI) -> int:
    return each.type_id or 0


def _effective_gas_price(each: SignedTransactionAPI, header: BlockHeaderAPI | None) -> int:
    """In wei; py-evm gives the gas price of older types as both fees."""
    if header is None:
        return int(each.max_fee_per_gas)
    return int(min(each.max_fee_per_gas, base_fee(header) + each.max_priority_fee_per_gas))
