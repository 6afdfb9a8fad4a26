"""All six vendors in the running loop."""

from contextlib import AsyncExitStack
from typing import Self

from tools.simulators.anthropic.vendor import Anthropic
from tools.simulators.chat_completions.modelark import ModelArk
from tools.simulators.chat_completions.nous import Nous
from tools.simulators.chat_completions.openai import OpenAI
from tools.simulators.chat_completions.xai import XAI
from tools.simulators.gemini.vendor import Gemini
from tools.simulators.simulator import Simulator


class Fleet:
    """`async with Fleet() as fleet:` serves every vendor on its own free port of 127.0.0.1."""

    def __init__(self, *, keep: int = 1000, serve_retired: bool = False) -> None:
        self.openai = Simulator(OpenAI(), keep=keep, serve_retired=serve_retired)
        self.xai = Simulator(XAI(), keep=keep, serve_retired=serve_retired)
        self.ark = Simulator(ModelArk(), keep=keep, serve_retired=serve_retired)
        self.nous = Simulator(Nous(), keep=keep, serve_retired=serve_retired)
        self.anthropic = Simulator(Anthropic(), keep=keep, serve_retired=serve_retired)
        self.google = Simulator(Gemini(), keep=keep, serve_retired=serve_retired)
        self._stack = AsyncExitStack()

    @property
    def simulators(self) -> dict[str, Simulator]:
        """By the gateway's provider names."""
        return {simulator.name: simulator for simulator in self._by_variable.values()}

    @property
    def _by_variable(self) -> dict[str, Simulator]:
        return {
            "OPENAI": self.openai,
            "ANTHROPIC": self.anthropic,
            "GOOGLE": self.google,
            "XAI": self.xai,
            "ARK": self.ark,
            "NOUS": self.nous,
        }

    def environment(self) -> dict[str, str]:
        """What points the gateway, or a vendor's SDK, at the simulators."""
        environment: dict[str, str] = {}
        for variable, simulator in self._by_variable.items():
            environment[f"{variable}_BASE_URL"] = simulator.base_url
            environment[f"{variable}_API_KEY"] = f"simulated-{simulator.name}-key"
        return environment

    def reset(self) -> None:
        for simulator in self.simulators.values():
            simulator.reset()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for simulator in self.simulators.values():
                await simulator.start()
                stack.push_async_callback(simulator.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()
