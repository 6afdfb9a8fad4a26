"""Verify a signed answer against the caller's own request and the gateway's key.

The signed bytes are specified by gateway/envelope.py. The four claims are independent, so that the verdicts show which
part was modified: the hashes are recomputed from request and answer, and the signature is verified over the hashes that
the answer states.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature

from gateway.envelope import canonical_chat_request, canonical_completion_request, signed_output, signing_digest
from gateway.keccak import keccak256
from tools.verify import stream, strict_json
from tools.verify.claims import Claim, failed, passed, skipped
from tools.verify.errors import MalformedError, UsageError
from tools.verify.signing_key import SigningKey
from tools.verify.strict_json import Json

CLAIMS = ("tee_id", "request_hash", "output_hash", "signature")

NOT_COVERED = [
    "which model really answered, and which provider",
    "token usage, price and payment, response headers",
    "finish_reason, and so whether the output is tool calls or a text that reads like their JSON",
    "the answer's id and role, the number of choices up to the one requested",
    "pictures and attachment bytes (an attachment counts by type and file name only)",
    "reasoning, refusals, annotations and log probabilities",
    "text beside tool calls; tool calls where finish_reason is not tool_calls, and any function_call",
    (
        "request fields other than model, messages (or prompt), temperature, max_tokens, stop, tools, response_format"
        " and web_search: tool_choice, functions, stream, n, top_p, seed, …"
    ),
    "in messages: names, and of earlier answers reasoning, refusals, function_call and the input of custom tool calls",
    "that the answer is new: an earlier one to an equal request is valid too, compare its time with yours",
]

_TIMESTAMP_LIMIT = 1 << 256


def read_answer(data: bytes) -> dict[str, Json]:
    """Parse a JSON body or an SSE stream into an answer object.

    Raises MalformedError with a one-line message if there is no complete answer in it.
    """
    answer = strict_json.loads_object(data) if data.lstrip()[:1] in (b"{", b"[") else stream.reassemble(data)
    if "error" in answer and "choices" not in answer:
        raise MalformedError(f"an error, not an answer: {stream.error_summary(answer['error'])}")
    return answer


def verify_response(key: SigningKey, request: Mapping[str, Json], data: bytes) -> list[Claim]:
    """Check the answer in ``data`` (JSON or SSE bytes): one claim per name in CLAIMS.

    Raises UsageError for a request that cannot be canonicalized, since it is the verifier's own input.
    """
    try:
        answer = read_answer(data)
    except MalformedError as error:
        return [
            failed(name, f"no answer can be read: {error}")
            if name == "output_hash"
            else skipped(name, "there is no complete answer")
            for name in CLAIMS
        ]
    return [
        _tee_id(key, answer),
        _compare_hash("request_hash", answer, keccak256(canonical_request(request, answer))),
        _output_hash(request, answer),
        _signature(key, answer),
    ]


def canonical_request(request: Mapping[str, Json], answer: Mapping[str, Json]) -> bytes:
    """The signed bytes of ``request``, which is a legacy completion if it has a prompt, otherwise a chat."""
    legacy = "prompt" in request and ("messages" not in request or answer.get("object") == "text_completion")
    canonical = canonical_completion_request if legacy else canonical_chat_request
    try:
        return canonical(request)
    except KeyError as error:
        raise UsageError(f"the request has no {error.args[0]}") from None
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise UsageError("the request is not one that the gateway accepts: a field has the wrong type") from None


def _tee_id(key: SigningKey, answer: Mapping[str, Json]) -> Claim:
    stated = answer.get("tee_id")
    if key.stated_tee_id not in (None, key.tee_id):
        return failed("tee_id", f"the key's source names {key.stated_tee_id}, but the key's own id is {key.tee_id}")
    if stated != key.tee_id:
        return failed("tee_id", f"the answer names {stated}, the key is {key.tee_id}")
    return passed("tee_id", key.tee_id)


def _output_hash(request: Mapping[str, Json], answer: Mapping[str, Json]) -> Claim:
    try:
        output = _signed_output(answer)
        _check_number(request, answer["choices"])
    except MalformedError as error:
        return failed("output_hash", str(error))
    return _compare_hash("output_hash", answer, keccak256(output))


def _signed_output(answer: Mapping[str, Json]) -> bytes:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise MalformedError("the answer has no choices")
    indices = [choice.get("index", 0) for choice in choices]
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(len(choices))):
        raise MalformedError("the choices are not numbered from 0")
    for choice in choices:
        _check_output(choice)
    if "completion" in answer and ("text" not in choices[0] or answer["completion"] != choices[0]["text"]):
        raise MalformedError("completion and choices[0].text differ")
    try:
        return signed_output(choices).encode()
    except UnicodeEncodeError:
        raise MalformedError("the answer's text has an unpaired surrogate") from None


def _check_number(request: Mapping[str, Json], choices: Sequence[Json]) -> None:
    """Reject more choices than were requested: one text that reads like a list has the signature of several."""
    n, prompt = request.get("n"), request.get("prompt")
    most = (n if isinstance(n, int | float) and n else 1) * (len(prompt) if isinstance(prompt, list) and prompt else 1)
    if len(choices) > most:
        raise MalformedError(f"the answer has {len(choices)} choices, the request asked for {most}")


def _check_output(choice: Mapping[str, Json]) -> None:
    """Reject a choice with two outputs: the caller could read the one that is not signed."""
    if "message" in choice and "text" in choice:
        raise MalformedError("a choice has both a message and a text")
    message = choice.get("message", {"content": choice.get("text")})
    if not isinstance(message, dict) or not isinstance(message.get("content"), str | None):
        raise MalformedError("the answer's content is not text")


def _compare_hash(name: str, answer: Mapping[str, Json], computed: bytes) -> Claim:
    stated = _stated_hash(answer, f"tee_{name}")
    if stated is None:
        return failed(name, f"the answer has no tee_{name} of 64 lower-case hex digits")
    if stated != computed:
        return failed(name, f"computed {computed.hex()}, the answer states {stated.hex()}")
    return passed(name, computed.hex())


def _stated_hash(answer: Mapping[str, Json], field: str) -> bytes | None:
    stated = answer.get(field)
    if not isinstance(stated, str):
        return None
    digits = stated.removeprefix("0x")
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)


def _signature(key: SigningKey, answer: Mapping[str, Json]) -> Claim:
    request_hash, output_hash = (_stated_hash(answer, f"tee_{name}") for name in ("request_hash", "output_hash"))
    timestamp = answer.get("tee_timestamp")
    if request_hash is None or output_hash is None:
        return failed("signature", "the answer does not state both hashes")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 <= timestamp < _TIMESTAMP_LIMIT:
        return failed("signature", "tee_timestamp is not a whole number of seconds")
    signature = _decode_signature(answer.get("tee_signature"))
    if signature is None:
        return failed("signature", "tee_signature is not base64")
    try:
        key.verify(signature, signing_digest(request_hash, output_hash, timestamp))
    except InvalidSignature:
        return failed("signature", "not made by this key over the stated hashes and tee_timestamp")
    return passed("signature", f"RSA-PSS by this key, tee_timestamp {timestamp}{_utc(timestamp)}")


def _utc(timestamp: int) -> str:
    """The time in parentheses; nothing if no calendar has it."""
    try:
        return f" ({datetime.fromtimestamp(timestamp, UTC):%FT%TZ})"
    except (ValueError, OverflowError, OSError):
        return ""


def _decode_signature(text: Json) -> bytes | None:
    """Decode canonical base64; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return signature if base64.b64encode(signature).decode() == text else None
