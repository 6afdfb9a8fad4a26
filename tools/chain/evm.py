"""The chain itself: py-evm with a pool of waiting transactions, an index of mined ones, and blocks on demand.

Differences from a live chain, all wanted: a block is mined as soon as a transaction can run (until that is switched
off), several blocks may share a second so that their clock never leaves the wall clock, and "pending" state is
"latest" state apart from nonces.
"""

import bisect
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI, StateAPI
from eth.chains.base import MiningChain
from eth.consensus.noproof import NoProofConsensus
from eth.constants import (
    CREATE_CONTRACT_ADDRESS,
    POST_MERGE_DIFFICULTY,
    POST_MERGE_MIX_HASH,
    POST_MERGE_NONCE,
    ZERO_ADDRESS,
)
from eth.db.atomic import AtomicDB
from eth.estimators.gas import binary_gas_search_1000_tolerance
from eth.exceptions import HeaderNotFound, Revert, VMError
from eth.typing import AccountState
from eth.vm.forks.cancun import CancunVM
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.exceptions import ValidationError

GAS_LIMIT = 30_000_000
"""Of a block, and of a call that names none."""


class InvalidTransactionError(Exception):
    """A transaction or call that the chain does not take, with the reason in the words of geth."""


class ExecutionRevertedError(Exception):
    """A call whose execution failed; `data` is what the contract reverted with, empty for any other fault."""

    def __init__(self, reason: str, data: bytes) -> None:
        super().__init__(reason)
        self.data = data


@dataclass(frozen=True, slots=True)
class Call:
    """An unsigned message: for eth_call and eth_estimateGas."""

    sender: Address = ZERO_ADDRESS
    to: Address = CREATE_CONTRACT_ADDRESS
    data: bytes = b""
    value: int = 0
    gas: int = GAS_LIMIT


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction with its place in the chain and its receipt."""

    transaction: SignedTransactionAPI
    header: BlockHeaderAPI
    index: int
    receipt: ReceiptAPI
    gas_used: int
    created: Address | None
    """Address of the contract that it created."""
    first_log: int
    """Index within the block of this transaction's first log."""


@dataclass(frozen=True, slots=True)
class Log:
    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    mined_in: tuple[int, bytes]
    """Block number and block hash."""
    transaction_hash: bytes
    transaction_index: int
    index: int


_Applied = tuple[SignedTransactionAPI, ReceiptAPI, int, Address | None]
"""Transaction, receipt, gas used, address of the contract created."""


class _Vm(CancunVM):
    consensus_class = NoProofConsensus

    @classmethod
    def validate_header(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        """The rules of the fork, save that a block may carry the same second as its parent."""
        if header.timestamp == parent_header.timestamp:
            header = header.copy(timestamp=header.timestamp + 1)
        super().validate_header(header, parent_header)


class _Chain(MiningChain):
    vm_configuration = ((BlockNumber(0), _Vm),)

    def create_header_from_parent(self, parent_header: BlockHeaderAPI, **fields: Any) -> BlockHeaderAPI:
        now = max(int(time.time()), parent_header.timestamp)
        fields = {"timestamp": now, "gas_limit": parent_header.gas_limit} | fields
        return super().create_header_from_parent(parent_header, **fields)


class Evm:
    """A chain that starts from `genesis` (see genesis.py). Not thread-safe: one caller at a time."""

    def __init__(self, chain_id: int, genesis: AccountState) -> None:
        parameters: dict[str, Any] = {
            "coinbase": ZERO_ADDRESS,
            "difficulty": POST_MERGE_DIFFICULTY,
            "extra_data": b"",
            "gas_limit": GAS_LIMIT,
            "mix_hash": POST_MERGE_MIX_HASH,
            "nonce": POST_MERGE_NONCE,
            "timestamp": int(time.time()),
        }
        chain_class = _Chain.configure(chain_id=chain_id)
        self._chain = cast(MiningChain, chain_class.from_genesis(AtomicDB(), parameters, genesis))
        self._pool: list[SignedTransactionAPI] = []
        self._mined: dict[bytes, Mined] = {}
        self._logs: list[Log] = []
        self.chain_id = chain_id
        self.auto_mine = True

    @property
    def head(self) -> BlockHeaderAPI:
        return self._chain.get_canonical_head()

    def header(self, block: BlockNumber | Hash32) -> BlockHeaderAPI | None:
        """A canonical header by number or by 32-byte hash."""
        try:
            if isinstance(block, bytes):
                return self._chain.get_block_header_by_hash(block)
            return self._chain.get_canonical_block_header_by_number(block)
        except HeaderNotFound:
            return None

    def block(self, header: BlockHeaderAPI) -> BlockAPI:
        return self._chain.get_block_by_header(header)

    def state(self, header: BlockHeaderAPI) -> StateAPI:
        """Accounts as they were after the block of `header`; changes to it are lost."""
        return self._chain.get_vm(header).state

    def mined(self, transaction_hash: bytes) -> Mined | None:
        return self._mined.get(transaction_hash)

    def waiting(self, transaction_hash: bytes) -> SignedTransactionAPI | None:
        return next((each for each in self._pool if each.hash == transaction_hash), None)

    def logs(self, first_block: int, last_block: int) -> Iterator[Log]:
        start = bisect.bisect_left(self._logs, first_block, key=lambda log: log.mined_in[0])
        for log in self._logs[start:]:
            if log.mined_in[0] > last_block:
                return
            yield log

    def next_nonce(self, sender: Address) -> int:
        """The first nonce that neither the chain nor an unbroken run of waiting transactions has used."""
        nonce = self.state(self.head).get_nonce(sender)
        waiting = {each.nonce for each in self._pool if each.sender == sender}
        while nonce in waiting:
            nonce += 1
        return nonce

    def call(self, call: Call, header: BlockHeaderAPI) -> bytes:
        """Runs a message on the state after `header`, at no cost and dated now. Raises both errors of this module."""
        state = self._costless_state(header)
        try:
            computation = state.apply_transaction(self._message(call, state))
        except ValidationError as error:
            raise InvalidTransactionError(str(error)) from error
        if computation.is_error:
            raise _reverted(computation.error)
        return computation.output

    def estimate_gas(self, call: Call, header: BlockHeaderAPI) -> int:
        """The least gas, to within a thousand, with which `call` succeeds. Raises both errors of this module."""
        state = self._costless_state(header)
        try:
            return int(binary_gas_search_1000_tolerance(state, self._message(call, state)))
        except VMError as error:
            raise _reverted(error) from error
        except ValidationError as error:
            raise InvalidTransactionError(str(error)) from error

    def send(self, raw: bytes) -> bytes:
        """Takes a signed transaction into the pool, mines when that is on; its hash. Raises InvalidTransactionError.

        A nonce ahead of its turn waits for the gap to close, as it would in a real pool.
        """
        transaction = self._decoded(raw)
        self._admit(transaction)
        self._pool.append(transaction)
        if self.auto_mine and self._next_runnable(self._chain.get_vm().state) is not None:
            self.mine()
        return transaction.hash

    def mine(self) -> BlockHeaderAPI:
        """Mines one block with every waiting transaction that can run and fits."""
        self._chain.header = self._chain.create_header_from_parent(self.head)
        applied: list[_Applied] = []
        while (transaction := self._next_runnable(self._chain.get_vm().state)) is not None:
            used = self._chain.header.gas_used
            if used + transaction.gas > GAS_LIMIT:
                break
            self._pool.remove(transaction)
            try:
                _, receipt, computation = self._chain.apply_transaction(transaction)
            except ValidationError:
                continue
            created = computation.msg.storage_address if computation.msg.is_create else None
            applied.append((transaction, receipt, receipt.gas_used - used, created))
        block = self._chain.mine_block(mix_hash=os.urandom(32))
        self._index(block.header, applied)
        return block.header

    def edit(self, change: Callable[[StateAPI], None]) -> None:
        """Changes accounts by decree, in a block of its own."""
        self._chain.header = self._chain.create_header_from_parent(self.head)
        state = self._chain.get_vm().state
        change(state)
        state.persist()
        self._chain.header = self._chain.header.copy(state_root=state.state_root)
        self._chain.mine_block(mix_hash=os.urandom(32))

    def _decoded(self, raw: bytes) -> SignedTransactionAPI:
        try:
            transaction = self._chain.get_vm().get_transaction_builder().decode(raw)
            transaction.check_signature_validity()
            chain_id = transaction.chain_id
        except Exception as error:  # what py-evm and rlp raise for garbage has no common base
            raise InvalidTransactionError(f"cannot decode transaction: {error}") from error
        if chain_id not in (None, self.chain_id):
            raise InvalidTransactionError(f"invalid chain id for signer: have {chain_id} want {self.chain_id}")
        return transaction

    def _admit(self, transaction: SignedTransactionAPI) -> None:
        state = self.state(self.head)
        price = transaction.max_fee_per_gas
        if self.mined(transaction.hash) or self.waiting(transaction.hash):
            raise InvalidTransactionError("already known")
        if transaction.nonce < state.get_nonce(transaction.sender):
            raise InvalidTransactionError("nonce too low")
        if any((each.sender, each.nonce) == (transaction.sender, transaction.nonce) for each in self._pool):
            raise InvalidTransactionError("replacement transaction underpriced")
        if transaction.gas > GAS_LIMIT:
            raise InvalidTransactionError("exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise InvalidTransactionError("intrinsic gas too low")
        if price < base_fee(self._chain.create_header_from_parent(self.head)):
            raise InvalidTransactionError("max fee per gas less than block base fee")
        if state.get_balance(transaction.sender) < transaction.gas * price + transaction.value:
            raise InvalidTransactionError("insufficient funds for gas * price + value")

    def _next_runnable(self, state: StateAPI) -> SignedTransactionAPI | None:
        return next((each for each in self._pool if each.nonce == state.get_nonce(each.sender)), None)

    def _index(self, header: BlockHeaderAPI, applied: list[_Applied]) -> None:
        log_index = 0
        for index, (transaction, receipt, gas_used, created) in enumerate(applied):
            mined = Mined(transaction, header, index, receipt, gas_used, created, log_index)
            self._mined[transaction.hash] = mined
            entries = list(logs_of(mined))
            self._logs += entries
            log_index += len(entries)

    def _costless_state(self, header: BlockHeaderAPI) -> StateAPI:
        return self.state(self._chain.create_header_from_parent(header).copy(base_fee_per_gas=0))

    def _message(self, call: Call, state: StateAPI) -> SignedTransactionAPI:
        unsigned = self._chain.create_unsigned_transaction(
            nonce=state.get_nonce(call.sender), gas_price=0, gas=call.gas, to=call.to, value=call.value, data=call.data
        )
        return cast(SignedTransactionAPI, SpoofTransaction(unsigned, from_=call.sender))


def base_fee(header: BlockHeaderAPI) -> int:
    """In wei per gas."""
    return header.base_fee_per_gas or 0


def logs_of(mined: Mined) -> Iterator[Log]:
    """The logs of one transaction, numbered within its block."""
    for offset, log in enumerate(mined.receipt.logs):
        yield Log(
            address=log.address,
            topics=tuple(topic.to_bytes(32, "big") for topic in log.topics),
            data=log.data,
            mined_in=(mined.header.block_number, mined.header.hash),
            transaction_hash=mined.transaction.hash,
            transaction_index=mined.index,
            index=mined.first_log + offset,
        )


def _reverted(error: VMError) -> ExecutionRevertedError:
    data = error.args[0] if isinstance(error, Revert) and error.args else b""
    return ExecutionRevertedError(str(error) if not data else "execution reverted", bytes(data))
