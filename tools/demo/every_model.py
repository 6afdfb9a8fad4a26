"""Every model of the catalogue asked once, and its answer verified."""

import json
from typing import Any

import aiohttp

from gateway.catalog import Model, bundled
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import SigningKey, load_signing_key


class BadAnswerError(Exception):
    """A model that did not answer, or whose answer does not verify; says which."""


async def ask_every_model(url: str) -> int:
    """How many models answered with a valid signature, streamed and not; raises BadAnswerError at the first other."""
    verified = 0
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/signing-key") as answer:
            key = load_signing_key(await answer.read())
        for model in bundled().models.values():
            for stream in (False, True):
                await _ask(session, url, key, model, stream=stream)
                verified += 1
    return verified


async def _ask(session: aiohttp.ClientSession, url: str, key: SigningKey, model: Model, *, stream: bool) -> None:
    request: dict[str, Any] = {
        "model": model.id,
        "messages": [{"role": "user", "content": f"Who are you, {model.id}?"}],
        "stream": stream,
    }
    async with session.post(f"{url}/v1/chat/completions", json=request) as answer:
        body = await answer.read()
    if answer.status != 200:
        raise BadAnswerError(f"{model.id}: status {answer.status} {body[:200]!r}")
    claims = verify_response(key, request, body)
    if any(claim.verdict is not Verdict.PASS for claim in claims):
        raise BadAnswerError(f"{model.id}: {[str(claim) for claim in claims]}")
    if "image" in model.outputs and not stream and not json.loads(body)["choices"][0]["message"].get("images"):
        raise BadAnswerError(f"{model.id}: no picture")
