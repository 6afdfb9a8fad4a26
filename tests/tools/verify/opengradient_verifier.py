"""Run by the OpenGradient SDK's own interpreter: verify exchanges given as JSON lines on standard input.

In: ``{request, response, key}``; out: ``{canonical, verdict}``, where the verdict is null for a verified answer.
"""

import json
import sys

from opengradient.client.tee_verify import (  # type: ignore[import-not-found]
    VerificationError,
    build_inner_request,
    canonical_request_bytes,
    response_content_for_hash,
    verify_response,
)


def main() -> None:
    for line in sys.stdin:
        exchange = json.loads(line)
        _, canonical = build_inner_request(exchange["request"])
        verdict = None
        try:
            verify_response(
                canonical_request=canonical,
                response_body=exchange["response"],
                response_content=response_content_for_hash(exchange["response"]),
                signing_key_pem=exchange["key"],
            )
        except VerificationError as error:
            verdict = str(error)
        print(json.dumps({"canonical": canonical_request_bytes(canonical).decode(), "verdict": verdict}), flush=True)


if __name__ == "__main__":
    main()
