"""The node over JSON-RPC: the behaviour that clients of a live chain rely on, and its extra controls."""

import time
from typing import Any

import aiohttp
import pytest
from web3 import Web3
from web3.exceptions import ContractLogicError

from gateway.keccak import keccak256
from tools.chain.contract import Contract
from tools.chain.deployment import CHAIN_ID, PAYEE, PERMIT2, USDC
from tools.chain.local_chain import LocalChain, TransactionFailedError
from tools.chain.rpc_error import RpcError
from tools.chain.wallet import Wallet

STRANGER = "0x00000000000000000000000000000000DeaDBeef"


def signed_mint(wallet: Wallet, nonce: int, amount: int = 1, **fields: int) -> str:
    transaction = {
        "to": USDC.address,
        "data": f"0x{Contract.load('Token').encode('mint', wallet.address, amount).hex()}",
        "value": 0,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "gas": 100_000,
        "gasPrice": 3 * 10**9,
    }
    return wallet.sign(transaction | fields)


async def test_identity(chain: LocalChain) -> None:
    assert await chain.rpc("eth_chainId") == "0x2105"
    assert await chain.rpc("net_version") == "8453"


async def test_block_time_is_the_wall_clock_even_in_a_burst(chain: LocalChain) -> None:
    for _ in range(20):
        await chain.mine()
    block = await chain.rpc("eth_getBlockByNumber", "latest", False)
    assert abs(int(block["timestamp"], 16) - time.time()) <= 2


async def test_transaction_receipt_and_block_agree(chain: LocalChain) -> None:
    wallet = await chain.wallet()
    transaction_hash = await chain.mint(wallet, USDC, 7)
    receipt = await chain.receipt(transaction_hash)
    assert receipt is not None
    block = await chain.rpc("eth_getBlockByHash", receipt["blockHash"], True)
    transaction = await chain.rpc("eth_getTransactionByHash", transaction_hash)
    assert block["transactions"] == [transaction]
    assert (transaction["from"], transaction["to"]) == (wallet.address, USDC.address)
    assert receipt["status"] == "0x1"
    assert int(receipt["logs"][0]["data"], 16) == 7
    assert 0 < int(receipt["gasUsed"], 16) <= int(transaction["gas"], 16)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (0, {"gasPrice": 3 * 10**9}),
        (1, {"gasPrice": 3 * 10**9, "accessList": [{"address": USDC.address, "storageKeys": [f"0x{'05'.zfill(64)}"]}]}),
        (2, {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9, "accessList": []}),
    ],
    ids=["legacy", "access list", "dynamic fee"],
)
async def test_every_type_of_transaction_comes_back_as_it_was_signed(
    chain: LocalChain, kind: int, fields: dict[str, Any]
) -> None:
    wallet = await chain.wallet()
    signed = {"to": USDC.address, "value": 0, "nonce": 0, "gas": 100_000, "chainId": CHAIN_ID, **fields}
    signed["data"] = f"0x{Contract.load('Token').encode('approve', PAYEE.address, 1).hex()}"
    raw = wallet.sign(signed if kind == 0 else signed | {"type": kind})
    transaction_hash = await chain.rpc("eth_sendRawTransaction", raw)
    assert transaction_hash == f"0x{keccak256(bytes.fromhex(raw[2:])).hex()}"
    read = await chain.rpc("eth_getTransactionByHash", transaction_hash)
    assert (read["type"], read["from"], read["chainId"]) == (hex(kind), wallet.address, hex(CHAIN_ID))
    for name, value in fields.items():
        assert read[name] == (value if name == "accessList" else hex(value)), name
    assert await chain.allowance(USDC, wallet.address, PAYEE.address) == 1


async def test_unknown_transactions_and_blocks_are_null(chain: LocalChain) -> None:
    assert await chain.rpc("eth_getTransactionReceipt", f"0x{'00' * 32}") is None
    assert await chain.rpc("eth_getTransactionByHash", f"0x{'00' * 32}") is None
    assert await chain.rpc("eth_getBlockByNumber", "0xffffff", False) is None


async def test_state_of_an_old_block_can_be_read(chain: LocalChain) -> None:
    wallet = await chain.wallet(usdc=5)
    before = hex(await chain.block_number())
    await chain.transfer(wallet, USDC, STRANGER, 5)
    read = {"to": USDC.address, "data": f"0x{Contract.load('Token').encode('balanceOf', wallet.address).hex()}"}
    assert int(await chain.rpc("eth_call", read, before), 16) == 5
    assert int(await chain.rpc("eth_call", read, "latest"), 16) == 0


async def test_calls_see_the_present_time_on_a_chain_without_blocks(chain: LocalChain) -> None:
    await chain.mine()
    told = await chain.call("Multicall3", "0xcA11bde05977b3631167028862bE2a173976CA11", "getCurrentBlockTimestamp")
    assert abs(told - time.time()) <= 1


async def test_revert_carries_reason_and_data(chain: LocalChain) -> None:
    wallet = await chain.wallet()
    with pytest.raises(RpcError, match="execution reverted: ERC20: transfer amount exceeds balance") as caught:
        await chain.transfer(wallet, USDC, STRANGER, 1)
    assert caught.value.code == 3
    assert caught.value.data is not None
    assert caught.value.data.startswith("0x08c379a0")


async def test_custom_errors_carry_their_selector(chain: LocalChain) -> None:
    permit = ((USDC.address, 1), 0, 0)
    call = ("permitWitnessTransferFrom", permit, (STRANGER, 1), PAYEE.address, bytes(32), "", b"")
    with pytest.raises(RpcError) as caught:
        await chain.call("Permit2", PERMIT2, *call)
    assert caught.value.data is not None
    assert Contract.load("Permit2").error(bytes.fromhex(caught.value.data[2:])) == "SignatureExpired"


async def test_waiting_transactions_are_visible_and_count_as_nonces(chain: LocalChain) -> None:
    wallet = await chain.wallet(usdc=3)
    used = int(await chain.rpc("eth_getTransactionCount", wallet.address, "latest"), 16)
    await chain.stop_mining()
    try:
        transaction_hash = await chain.transfer(wallet, USDC, STRANGER, 3)
        assert await chain.receipt(transaction_hash) is None
        assert (await chain.rpc("eth_getTransactionByHash", transaction_hash))["blockNumber"] is None
        assert int(await chain.rpc("eth_getTransactionCount", wallet.address, "latest"), 16) == used
        assert int(await chain.rpc("eth_getTransactionCount", wallet.address, "pending"), 16) == used + 1
        assert await chain.balance(USDC, wallet.address) == 3
        await chain.mine()
        assert await chain.balance(USDC, wallet.address) == 0
    finally:
        await chain.start_mining()


async def test_nonces_may_arrive_out_of_order(chain: LocalChain) -> None:
    wallet = await chain.wallet()
    hashes = [await chain.rpc("eth_sendRawTransaction", signed_mint(wallet, nonce)) for nonce in (2, 1, 0)]
    receipts = [await chain.receipt(each) for each in hashes]
    assert all(receipt is not None and receipt["status"] == "0x1" for receipt in receipts)
    assert await chain.balance(USDC, wallet.address) == 3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chainId": 1}, "invalid chain id"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 30_000_001}, "exceeds block gas limit"),
        ({"gasPrice": 1}, "max fee per gas less than block base fee"),
        ({"value": 10**18}, "insufficient funds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_transactions_that_no_node_takes(chain: LocalChain, fields: dict[str, int], reason: str) -> None:
    wallet = await chain.wallet()
    with pytest.raises(RpcError, match=reason) as caught:
        await chain.rpc("eth_sendRawTransaction", signed_mint(wallet, 0, **fields))
    assert caught.value.code == -32000


async def test_used_nonces_and_known_transactions_are_refused(chain: LocalChain) -> None:
    wallet = await chain.wallet()
    first = signed_mint(wallet, 0)
    await chain.rpc("eth_sendRawTransaction", first)
    with pytest.raises(RpcError, match="already known"):
        await chain.rpc("eth_sendRawTransaction", first)
    with pytest.raises(RpcError, match="nonce too low"):
        await chain.rpc("eth_sendRawTransaction", signed_mint(wallet, 0, amount=2))
    await chain.rpc("eth_sendRawTransaction", signed_mint(wallet, 5))
    with pytest.raises(RpcError, match="replacement transaction underpriced"):
        await chain.rpc("eth_sendRawTransaction", signed_mint(wallet, 5, amount=2))


async def test_a_reverted_transaction_is_an_error_with_a_receipt(chain: LocalChain) -> None:
    """Valid when sent, reverted when mined: the first of two transfers takes the balance."""
    wallet = await chain.wallet(usdc=1)
    await chain.stop_mining()
    try:
        hashes = [await chain.transfer(wallet, USDC, STRANGER, 1) for _ in range(2)]
    finally:
        await chain.start_mining()
    receipts = [await chain.receipt(each) for each in hashes]
    assert [receipt and receipt["status"] for receipt in receipts] == ["0x1", "0x0"]


async def test_send_raises_when_its_transaction_reverts(chain: LocalChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the dry run that would have shown it."""
    wallet = await chain.wallet()
    asked = chain.rpc

    async def rpc(method: str, *parameters: Any) -> Any:
        return "0x" if method == "eth_call" else await asked(method, *parameters)

    monkeypatch.setattr(chain, "rpc", rpc)
    with pytest.raises(TransactionFailedError, match=r"Token\.transfer reverted"):
        await chain.transfer(wallet, USDC, STRANGER, 1)


async def test_logs_are_found_by_address_topic_and_block(chain: LocalChain) -> None:
    start = await chain.block_number()
    wallet = await chain.wallet(usdc=10, opg=4)
    await chain.transfer(wallet, USDC, STRANGER, 6)
    transfers = await chain.transfers(USDC, payer=wallet.address, from_block=start)
    assert [(each.payee, each.amount) for each in transfers] == [(STRANGER, 6)]
    assert [each.amount for each in await chain.transfers(USDC, payee=wallet.address, from_block=start)] == [10]
    end = hex(await chain.block_number() + 1)
    assert await chain.rpc("eth_getLogs", {"address": wallet.address, "toBlock": end}) == []
    either = {"topics": [[f"0x{keccak256(b'Approval(address,address,uint256)').hex()}", f"0x{'11' * 32}"]]}
    assert await chain.rpc("eth_getLogs", either | {"fromBlock": hex(start), "toBlock": end}) == []


async def test_fee_history_is_aligned(chain: LocalChain) -> None:
    history = await chain.rpc("eth_feeHistory", "0x3", "latest", [50])
    newest = await chain.rpc("eth_getBlockByNumber", "latest", False)
    assert int(history["oldestBlock"], 16) == int(newest["number"], 16) - 2
    assert (len(history["baseFeePerGas"]), len(history["gasUsedRatio"]), len(history["reward"])) == (4, 3, 3)
    assert history["baseFeePerGas"][2] == newest["baseFeePerGas"]


@pytest.mark.parametrize(
    ("request_body", "code"),
    [
        ({"id": 1, "method": "eth_noSuchThing"}, -32601),
        ({"id": 1, "method": "eth_getBalance", "params": ["nobody"]}, -32602),
        ({"id": 1, "method": "eth_getBalance"}, -32602),
        ({"id": 1, "method": "eth_sendRawTransaction", "params": ["0x00"]}, -32000),
        ({"id": 1, "method": "eth_getBalance", "params": [STRANGER, "0xffffff"]}, -32000),
        ("nonsense", -32600),
        ([], -32600),
    ],
)
async def test_bad_requests(chain: LocalChain, http: aiohttp.ClientSession, request_body: Any, code: int) -> None:
    async with http.post(chain.rpc_url, json=request_body) as response:
        assert (await response.json())["error"]["code"] == code


async def test_text_that_is_no_json(chain: LocalChain, http: aiohttp.ClientSession) -> None:
    async with http.post(chain.rpc_url, data=b"{") as response:
        assert (await response.json())["error"]["code"] == -32700


async def test_batches_are_answered_in_order(chain: LocalChain, http: aiohttp.ClientSession) -> None:
    batch = [{"id": 7, "method": "eth_chainId"}, {"id": 8, "method": "eth_noSuchThing"}]
    async with http.post(chain.rpc_url, json=batch) as response:
        answers = await response.json()
    assert [each["id"] for each in answers] == [7, 8]
    assert answers[0]["result"] == "0x2105"
    assert answers[1]["error"]["code"] == -32601


def test_web3_reads_writes_and_names_reverts(chain: LocalChain) -> None:
    web3 = Web3(Web3.HTTPProvider(chain.rpc_url))
    token = web3.eth.contract(address=Web3.to_checksum_address(USDC.address), abi=Contract.load("Token").abi)
    assert token.functions.symbol().call() == "USDC"
    assert web3.eth.get_block("latest")["baseFeePerGas"] > 0
    with pytest.raises(ContractLogicError, match="exceeds balance"):
        token.functions.transfer(PAYEE.address, 1).call({"from": Web3.to_checksum_address(Wallet().address)})


def test_the_node_ends_with_the_process_that_holds_its_input() -> None:
    orphaned = LocalChain()
    orphaned.start()
    process = orphaned._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=5) == 0
    process.stdin = None
    orphaned.stop()
