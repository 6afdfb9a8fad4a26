"""Assembler, chunk encoder and the verifier's reader: what is streamed is what is signed."""

from random import Random

import msgspec

from gateway.envelope import signed_output
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import (
    Delta,
    Finish,
    Image,
    MessageField,
    Reasoning,
    Refusal,
    Text,
    ToolCallArguments,
    ToolCallStart,
    UpstreamMetadata,
)
from gateway.openai_api.stream import ChatChunkEncoder, TextChunkEncoder
from gateway.openai_api.usage import Usage
from tools.fuzz.target import BrokenPropertyError, Target
from tools.verify.stream import reassemble

_TEXTS = (
    "",
    "a",
    " ",
    "\n",
    "\u00e9",
    "\U0001f600",
    '"',
    "\\",
    "\u2028",
    "data: [DONE]\n\n",
    "\x00",
    "\x7f",
    "</script>",
)


def make_deltas(random: Random) -> list[Delta]:
    queues = [_choice(random, index) for index in range(random.choice((1, 1, 2, 4)))]
    deltas: list[Delta] = [UpstreamMetadata(model="m")]
    while queues := [queue for queue in queues if queue]:
        deltas.append(random.choice(queues).pop(0))
    return [*deltas, Usage(prompt_tokens=1)]


def _choice(random: Random, choice: int) -> list[Delta]:
    deltas: list[Delta] = [_piece(random, choice) for _ in range(random.randrange(6))]
    calls = random.choice((0, 0, 1, 3))
    for index in random.sample(range(calls), calls):
        kind = random.choice(("function", "function", "custom"))
        extra = random.choice((None, {"google": {"thought_signature": "c2ln"}}))
        name = random.choice(_TEXTS)
        start = ToolCallStart(index=index, id=f"c{index}", name=name, choice=choice, type=kind, extra_content=extra)
        fragments = [ToolCallArguments(index, random.choice(_TEXTS), choice, kind) for _ in range(random.randrange(4))]
        deltas += [start, *fragments]
    reason = random.choice(("stop", "length", "content_filter", *(["tool_calls"] * 5 if calls else [])))
    return [*deltas, Finish(reason, choice)]


def _piece(random: Random, choice: int) -> Delta:
    text = random.choice(_TEXTS)
    match random.randrange(7):
        case 0:
            return Refusal(text, choice)
        case 1:
            return Reasoning(text=text, choice=choice, format=random.choice((None, "f")), index=random.randrange(2))
        case 2:
            return Reasoning(choice=choice, format="f", signature=text, data=random.choice((None, text)))
        case 3:
            return Image("data:image/png;base64,AA==", choice)
        case 4:
            return MessageField("annotations", [text], choice)
        case 5:
            return Text(text, choice, {"content": [{"token": text, "logprob": -0.1}], "refusal": None})
    return Text(text, choice)


def check_deltas(deltas: list[Delta]) -> None:
    """The same deltas must give the same signed output, streamed or not. Raises BrokenPropertyError."""
    assembler = Assembler()
    encoder, legacy = ChatChunkEncoder("chatcmpl-1", 1, "m"), TextChunkEncoder("cmpl-1", 1, "m")
    stream = texts = b""
    for delta in deltas:
        assembler.add(delta)
        stream += encoder.encode(delta)
        texts += legacy.encode(delta)
    usage = assembler.usage or Usage()
    extra = {"usage": usage.as_openai(), "tee_id": "0x1"}
    choices, finish = assembler.choices(), assembler.finish_reasons()
    for separate in (False, True):
        _compare(stream + encoder.last(finish, extra, separate_usage=separate), choices)
        _compare(texts + legacy.last(finish, extra, separate_usage=separate), assembler.texts())
    if msgspec.json.decode(msgspec.json.encode(choices)) != choices:
        raise BrokenPropertyError("the choices are changed by JSON")


def _compare(stream: bytes, choices: list[dict[str, object]]) -> None:
    told = reassemble(stream)["choices"]
    if signed_output(told) != signed_output(choices):
        raise BrokenPropertyError(f"streamed {signed_output(told)!r}, signed {signed_output(choices)!r}")
    if [choice["finish_reason"] for choice in told] != [choice["finish_reason"] for choice in choices]:
        raise BrokenPropertyError("the stream ends for another reason")


ANSWERS = Target("answers", make_deltas, check_deltas)
