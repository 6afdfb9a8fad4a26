"""Run by the OpenGradient SDK's own interpreter: asks a gateway as the SDK does, and lets the SDK judge the answers.

Arguments: the gateway's URL, a file with its public key. Standard input: one request body per line. Standard output:
one line per request, ``{content, finish_reason, refused}``; ``refused`` is null for an answer that the SDK accepts. All
between the request and the verdict is the SDK's: what is sent, how a stream is read, what is hashed, what is checked.
"""

import json
import sys
from pathlib import Path

import requests
from opengradient.client import tee_ohttp_client as reading  # type: ignore[import-not-found]
from opengradient.client.tee_verify import (  # type: ignore[import-not-found]
    VerificationError,
    build_inner_request,
    response_content_for_hash,
    verify_response,
)


def main() -> None:
    url, key = sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8")
    with requests.Session() as session:
        for line in sys.stdin:
            print(json.dumps(ask(session, url, key, json.loads(line))), flush=True)


def ask(session: requests.Session, url: str, key: str, request: dict) -> dict:  # type: ignore[type-arg]
    streamed = request.pop("stream", False)
    wire, canonical = build_inner_request(request)
    if streamed:
        wire = {**wire, "stream": True}
    response = session.post(f"{url}/v1/chat/completions", json=wire, stream=streamed, timeout=60)
    if response.status_code != 200:
        return {"content": None, "finish_reason": None, "refused": f"status {response.status_code}: {response.text}"}
    signed, content = read_stream(response) if streamed else read_whole(response)
    refused = None
    try:
        verify_response(
            canonical_request=canonical,
            response_body=signed,
            response_content=content,
            signing_key_pem=key,
            expected_tee_id=signed["tee_id"],
        )
    except VerificationError as error:
        refused = str(error)
    return {"content": content, "finish_reason": signed["choices"][0]["finish_reason"], "refused": refused}


def read_whole(response: requests.Response) -> tuple[dict, str]:  # type: ignore[type-arg]
    body = response.json()
    return body, response_content_for_hash(body)


def read_stream(response: requests.Response) -> tuple[dict, str]:  # type: ignore[type-arg]
    """The signed event, and the content as the SDK's client for verified streams accumulates it."""
    text, signed = "", {}
    calls: dict[int, dict] = {}  # type: ignore[type-arg]
    for frame in response.content.decode().split("\n\n"):
        for event in reading._iter_sse_objects(frame):
            text += reading._delta_content(event)
            reading._accumulate_tool_calls(calls, event)
            if isinstance(event.get("tee_signature"), str):
                signed = event
    if reading._finish_reason(signed) == "tool_calls" and calls:
        return signed, json.dumps([calls[index] for index in sorted(calls)], sort_keys=True)
    return signed, text


if __name__ == "__main__":
    main()
