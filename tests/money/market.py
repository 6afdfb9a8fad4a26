"""A run of random payments on a real gateway process, and what its clients saw of it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import aiohttp
import msgspec

from tests.event_streams import events
from tests.money.interleaving import UPSTREAMS, Group, Step
from tests.money.paid_gateway import CHAT_PATH, Json, chat, decode_header, sign
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.deployment import gateway_process
from tools.simulators.scenario import directive

ANSWER_SECONDS = 20.0


@dataclass
class Outcome:
    """What one client saw. ``payment`` is the answer's; ``statuses`` are those of all its paid requests.

    ``nonce`` is what was signed; 0 for a step that got no offer, as of a gateway that was away. ``killed`` when the
    gateway was, while this client was waiting or before.
    """

    step: Step
    payer: str = ""
    nonce: int = 0
    statuses: list[int] = field(default_factory=list)
    payment: Json | None = None
    refusals: set[str] = field(default_factory=set)
    killed: bool = False


@dataclass
class Market:
    """``url`` is the running gateway's, which changes when it is restarted."""

    chain: LocalChain
    facilitator: LocalFacilitator
    wallets: Sequence[Wallet]
    variables: Mapping[str, str]
    outcomes: list[Outcome] = field(default_factory=list)
    url: str = ""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        await self._start()
        try:
            yield self
        finally:
            await self._stack.aclose()

    async def run(self, groups: Iterable[Group]) -> None:
        """One group after the other."""
        for group in groups:
            self.facilitator.faults.clear()
            for endpoint, faults, times in group.faults:
                self.facilitator.faults.set(endpoint, *faults, times=times)
            killed = group.gateway == "is killed"
            running = [asyncio.create_task(self._play(Outcome(step, killed=killed))) for step in group.steps]
            if killed:
                await asyncio.sleep(group.killed_after)
                assert self._process is not None
                self._process.send_signal(signal.SIGKILL)
            self.outcomes += await asyncio.gather(*running)
            if group.gateway != "stays":
                await self.restart()
        self.facilitator.faults.clear()

    async def restart(self) -> None:
        """Drained if it still runs, on the same journal."""
        await self._stack.aclose()
        await self._start()

    async def _start(self) -> None:
        self.url, self._process = await self._stack.enter_async_context(
            gateway_process(self.variables, module="tests.money.quick_gateway")
        )

    async def _play(self, outcome: Outcome) -> Outcome:
        try:
            await self._buy(outcome.step, outcome)
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome.refusals.add(type(error).__name__)
        return outcome

    async def _buy(self, step: Step, outcome: Outcome) -> None:
        wallet = self.wallets[step.wallet]
        if step.client == "burns":  # who burns a nonce is a debtor afterwards, and nobody else should be
            wallet = await self.chain.wallet(usdc=10**8, opg=10**22, approve=True)
        body = chat(f"{directive(UPSTREAMS[step.upstream])} {step.label}", model=step.model, stream=step.stream)
        unpaid = await self._post(body, None)
        if unpaid.status != 402:
            outcome.refusals.add(f"unpaid: {unpaid.status}")
            return
        signature = await sign(wallet, decode_header(unpaid.required), scheme=step.scheme, token=step.token)
        signed = decode_header(signature)["payload"]
        authorization = signed.get("permit2Authorization") or signed["authorization"]
        outcome.payer = wallet.address
        outcome.nonce = int(authorization["nonce"], 0)
        match step.client:
            case "leaves":
                await self._paid(outcome, body, signature, step.leaves_after)
            case "repeats":
                await asyncio.gather(*(self._paid(outcome, body, signature) for _ in range(3)))
                await self._paid(outcome, body, signature)
            case "burns":
                await asyncio.gather(self._paid(outcome, body, signature), self._burn(wallet, step, authorization))
            case "waits":
                await self._paid(outcome, body, signature)

    async def _burn(self, wallet: Wallet, step: Step, authorization: Json) -> None:
        await asyncio.sleep(step.leaves_after)
        if step.scheme == "upto":
            await self.chain.invalidate_permit2_nonce(wallet, int(authorization["nonce"], 0))

    async def _paid(self, outcome: Outcome, body: Json, signature: str, seconds: float = ANSWER_SECONDS) -> None:
        """One paid request; an answer that was read to its end leaves its payment in ``outcome``."""
        answer = await self._post(body, signature, seconds)
        outcome.statuses.append(answer.status)
        if answer.status != 200:
            outcome.refusals.add(answer.code)
            return
        assert outcome.payment is None, f"{outcome.step} was answered twice"
        outcome.payment = answer.payment

    async def _post(self, body: Json, signature: str | None, seconds: float = ANSWER_SECONDS) -> "_Reply":
        headers = {} if signature is None else {"PAYMENT-SIGNATURE": signature}
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self.url + CHAT_PATH, json=body, headers=headers) as response,
        ):
            return _Reply.of(response.status, response.headers, await response.read())


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    required: str = ""
    code: str = ""
    payment: Json | None = None

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> "_Reply":
        required = headers.get("PAYMENT-REQUIRED", "")
        if status != 200:
            return cls(status, required, msgspec.json.decode(body)["error"]["code"] or "")
        last = events(body)[-1] if body.startswith((b"data:", b":")) else msgspec.json.decode(body)
        return cls(status, required, payment=last["payment"])
