"""The chain's JSON-RPC methods: `eth_*` as clients use them, and the switches under anvil's names.

| method | effect |
|---|---|
| `evm_setAutomine(on)` | stop mining: transactions are taken and wait; start again: what waits is mined |
| `evm_mine()` | one block now |
| `anvil_setBalance(account, wei)` | so much ether from the next block on |
| `anvil_setCode(account, code)` | a contract from the next block on |
"""

from collections.abc import Callable

from eth.abc import BlockHeaderAPI
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.address import is_address, to_canonical_address

from tools.chain import rpc_json
from tools.chain.contract import ERROR_STRING, Contract
from tools.chain.evm import GAS_LIMIT, Call, Evm, ExecutionRevertedError, InvalidTransactionError, Log, base_fee
from tools.chain.rpc_error import (
    EXECUTION_REVERTED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
    RpcError,
)
from tools.chain.rpc_json import Json, quantity

PRIORITY_FEE = 10**9
"""Wei per gas that `eth_maxPriorityFeePerGas` and `eth_gasPrice` recommend above the base fee."""


class Rpc:
    """Answers requests from an `Evm`, one after another."""

    def __init__(self, evm: Evm) -> None:
        self._evm = evm
        self._methods: dict[str, Callable[..., Json]] = {
            "web3_clientVersion": lambda: "tee-gateway/local-chain",
            "net_version": lambda: str(evm.chain_id),
            "net_listening": lambda: True,
            "eth_syncing": lambda: False,
            "eth_accounts": list,
            "eth_chainId": lambda: quantity(evm.chain_id),
            "eth_blockNumber": lambda: quantity(evm.head.block_number),
            "eth_gasPrice": lambda: quantity(base_fee(evm.head) + PRIORITY_FEE),
            "eth_maxPriorityFeePerGas": lambda: quantity(PRIORITY_FEE),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": self._balance,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionCount": self._transaction_count,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendRawTransaction": lambda raw: rpc_json.data(evm.send(_bytes(raw))),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block,
            "eth_getLogs": self._logs,
            "evm_mine": lambda: quantity(evm.mine().block_number),
            "evm_setAutomine": self._set_auto_mine,
            "anvil_setBalance": self._set_balance,
            "anvil_setCode": self._set_code,
        }

    def answer(self, request: Json) -> Json:
        """The response to a request, or to a batch of them."""
        if isinstance(request, list) and request:
            return [self._answer(each) for each in request]
        return self._answer(request)

    def _answer(self, request: Json) -> dict[str, Json]:
        identifier = request.get("id") if isinstance(request, dict) else None
        envelope = {"jsonrpc": "2.0", "id": identifier}
        try:
            return envelope | {"result": self._dispatch(request)}
        except RpcError as error:
            return envelope | {"error": error.json()}

    def _dispatch(self, request: Json) -> Json:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise RpcError(INVALID_REQUEST, "invalid request")
        method = self._methods.get(request["method"])
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {request['method']} does not exist")
        parameters = request.get("params") or []
        try:
            return method(*parameters)
        except InvalidTransactionError as error:
            raise RpcError(SERVER_ERROR, str(error)) from error
        except ExecutionRevertedError as error:
            raise _execution_error(error) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RpcError(INVALID_PARAMS, f"invalid parameters of {request['method']}: {error}") from error

    def _header(self, block: Json) -> BlockHeaderAPI:
        header = self._find_header(block)
        if header is None:
            raise RpcError(SERVER_ERROR, f"header not found: {block}")
        return header

    def _find_header(self, block: Json) -> BlockHeaderAPI | None:
        """A block tag, number, hash, or EIP-1898 object; the newest block when there is none."""
        if isinstance(block, dict):
            block = block.get("blockHash") or block["blockNumber"]
        if block in (None, "latest", "pending", "safe", "finalized"):
            return self._evm.head
        if block == "earliest":
            return self._evm.header(BlockNumber(0))
        if len(block) == 66:
            return self._evm.header(Hash32(_bytes(block)))
        return self._evm.header(BlockNumber(int(block, 16)))

    def _fee_history(self, count: Json, newest: Json, percentiles: Json = None) -> Json:
        last = self._header(newest).block_number
        first = max(0, last - _integer(count) + 1)
        headers = [self._header(hex(number)) for number in range(first, last + 1)]
        fees = [base_fee(header) for header in headers]
        history: dict[str, Json] = {
            "oldestBlock": quantity(first),
            "baseFeePerGas": [quantity(fee) for fee in [*fees, fees[-1]]],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if percentiles:
            history["reward"] = [[quantity(PRIORITY_FEE)] * len(percentiles) for _ in headers]
        return history

    def _balance(self, account: Json, block: Json = None) -> Json:
        return quantity(self._evm.state(self._header(block)).get_balance(_address(account)))

    def _code(self, account: Json, block: Json = None) -> Json:
        return rpc_json.data(self._evm.state(self._header(block)).get_code(_address(account)))

    def _storage(self, account: Json, slot: Json, block: Json = None) -> Json:
        value = self._evm.state(self._header(block)).get_storage(_address(account), int(slot, 16))
        return rpc_json.data(value.to_bytes(32, "big"))

    def _transaction_count(self, account: Json, block: Json = None) -> Json:
        if block == "pending":
            return quantity(self._evm.next_nonce(_address(account)))
        return quantity(self._evm.state(self._header(block)).get_nonce(_address(account)))

    def _call(self, message: Json, block: Json = None, _overrides: Json = None) -> Json:
        return rpc_json.data(self._evm.call(_message(message), self._header(block)))

    def _estimate_gas(self, message: Json, block: Json = None) -> Json:
        return quantity(self._evm.estimate_gas(_message(message), self._header(block)))

    def _transaction(self, transaction_hash: Json) -> Json:
        key = _bytes(transaction_hash)
        if mined := self._evm.mined(key):
            return rpc_json.transaction(mined.transaction, mined.header, mined.index)
        waiting = self._evm.waiting(key)
        return None if waiting is None else rpc_json.transaction(waiting, None, None)

    def _receipt(self, transaction_hash: Json) -> Json:
        mined = self._evm.mined(_bytes(transaction_hash))
        return None if mined is None else rpc_json.receipt(mined)

    def _block(self, block: Json, full: Json = False) -> Json:
        header = self._find_header(block)
        return None if header is None else rpc_json.block(header, self._evm.block(header), full=bool(full))

    def _logs(self, criteria: Json) -> Json:
        if "blockHash" in criteria:
            first = last = int(self._header(criteria["blockHash"]).block_number)
        else:
            first = self._header(criteria.get("fromBlock")).block_number
            last = self._last_block(criteria.get("toBlock"))
        addresses = {_address(each) for each in _alternatives(criteria.get("address"))}
        topics = [{_bytes(each) for each in _alternatives(topic)} for topic in criteria.get("topics") or []]
        matching = (log for log in self._evm.logs(first, last) if _matches(log, addresses, topics))
        return [rpc_json.log(log) for log in matching]

    def _last_block(self, block: Json) -> int:
        """A range may end in the future."""
        header = self._find_header(block)
        return int(self._evm.head.block_number if header is None else header.block_number)

    def _set_auto_mine(self, on: Json) -> Json:
        self._evm.auto_mine = bool(on)
        if on:
            self._evm.mine()
        return True

    def _set_balance(self, account: Json, wei: Json) -> Json:
        self._evm.edit(lambda state: state.set_balance(_address(account), _integer(wei)))
        return None

    def _set_code(self, account: Json, code: Json) -> Json:
        self._evm.edit(lambda state: state.set_code(_address(account), _bytes(code)))
        return None


def _message(fields: Json) -> Call:
    defaults = Call()
    return Call(
        sender=_address(fields["from"]) if fields.get("from") else defaults.sender,
        to=_address(fields["to"]) if fields.get("to") else defaults.to,
        data=_bytes(fields.get("input") or fields.get("data") or "0x"),
        value=_integer(fields.get("value") or 0),
        gas=min(_integer(fields.get("gas") or GAS_LIMIT), GAS_LIMIT),
    )


def _matches(log: Log, addresses: set[Address], topics: list[set[bytes]]) -> bool:
    if addresses and log.address not in addresses:
        return False
    if len(topics) > len(log.topics):
        return False
    return all(not wanted or topic in wanted for wanted, topic in zip(topics, log.topics, strict=False))


def _alternatives(value: Json) -> list[Json]:
    """A filter's field: absent or null for anything, one value, or a list of which one must match."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _integer(value: Json) -> int:
    return value if isinstance(value, int) else int(value, 16)


def _bytes(value: Json) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("data must be a string that starts with 0x")
    return bytes.fromhex(value[2:])


def _address(value: Json) -> Address:
    if not is_address(value):
        raise ValueError(f"not an address: {value!r}")
    return to_canonical_address(value)


def _execution_error(error: ExecutionRevertedError) -> RpcError:
    if not error.data:
        return RpcError(EXECUTION_REVERTED, f"execution reverted: {error}", "0x")
    known = error.data.startswith(ERROR_STRING)
    reason = f"execution reverted: {Contract.load('Token').error(error.data)}" if known else "execution reverted"
    return RpcError(EXECUTION_REVERTED, reason, rpc_json.data(error.data))
