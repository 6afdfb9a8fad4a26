"""Response headers cannot be injected by echoed input; the vendor's request id is returned under another name."""

import json

import pytest

from tests.faults.raw_upstream import answering, http
from tests.running_gateway import RunningGateway, StartGateway
from tools.soak.raw_client import RawClient, post

ANSWER = {
    "id": "c",
    "created": 1,
    "model": "gpt-4.1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
OURS = {
    "content-type",
    "content-length",
    "date",
    "server",
    "x-request-id",
    "x-upstream-request-id",
    "x-tee-signature",
    "x-tee-id",
    "x-tee-timestamp",
    "x-tee-request-hash",
    "x-tee-output-hash",
    "x-dropped-params",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "connection",
    "cache-control",
    "x-accel-buffering",
    "transfer-encoding",
}
THEIRS = (
    b"Set-Cookie: session=1",
    b"openai-organization: org-Qd7kT2mPx9LwVb4Zr6Hn",
    b"openai-project: proj-secret",
    b"openai-processing-ms: 7",
    b"x-ratelimit-remaining-tokens: 7",
    b"Access-Control-Allow-Origin: https://vendor.example",
    b"Access-Control-Allow-Credentials: true",
    b"Strict-Transport-Security: max-age=1",
    b'Alt-Svc: h3=":443"',
    b"CF-RAY: 1-AMS",
    b"Location: https://evil.example",
    b"WWW-Authenticate: Bearer",
    b"X-TEE-Signature: forged",
    b"X-TEE-ID: forged",
    b"PAYMENT-RESPONSE: forged",
    b"x-request-id: req_theirs",
    b"Server: theirs",
    b"Via: 1.1 vendor",
)


def headers_of(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_of_a_vendors_headers_passes(start_gateway: StartGateway, status: int, stream: bool) -> None:
    body = (
        ANSWER
        if status == 200
        else {"error": {"message": "org-Qd7kT2mPx9LwVb4Zr6Hn has no credit", "type": "x", "code": "x"}}
    )
    async with answering(http(status, json.dumps(body).encode(), *THEIRS)) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        response = await gateway.chat("gpt-4.1", "Hi", stream=stream)
    assert {name.lower() for name in response.headers} <= OURS
    assert response.headers["Server"] == "tee-gateway"
    assert response.headers["x-request-id"] != "req_theirs"
    assert response.headers["x-upstream-request-id"] == "req_theirs"
    for value in (*response.headers.values(), await response.text()):
        assert "forged" not in value
        assert "org-Qd7kT2mPx9LwVb4Zr6Hn" not in value
        assert "evil.example" not in value


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"request-id: req_claude", "req_claude"),
        (b"x-request-id: " + b"r" * 5000, "r" * 128),
        (b"x-request-id: \xc3\xa9", None),
        (b"x-request-id: \xff", None),
        (b"x-request-id: a\tb", None),
        (b"x-request-id:", None),
        (b"x-other: a", None),
    ],
)
async def test_a_vendors_id_of_the_call(
    start_gateway: StartGateway, given: bytes, told: str | None, stream: bool, status: int
) -> None:
    async with answering(http(status, json.dumps(ANSWER).encode(), given)) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        response = await gateway.chat("gpt-4.1", "Hi", stream=stream)
    assert (response.status, response.headers.get("x-upstream-request-id")) == (status, told)


@pytest.mark.parametrize(
    "retry_after", [b"1\x0bx", b"1e3", b"-5", b"NaN", b"inf", b"9" * 400, b"\xff", b"Thu, 99 Foo 9999", b""]
)
async def test_a_retry_after_that_is_none(start_gateway: StartGateway, retry_after: bytes) -> None:
    body = json.dumps({"error": {"message": "slow down", "type": "x", "code": "rate_limit_exceeded"}}).encode()
    async with answering(http(429, body, b"Retry-After: " + retry_after)) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        response = await gateway.chat("gpt-4.1", "Hi")
    assert response.status in (429, 502)
    told = response.headers.get("Retry-After", "0")
    assert told.isdigit()
    assert int(told) < 10**9


@pytest.mark.parametrize("name", ["x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\0", "é\u2028", "x" * 100_000, "a,b"])
async def test_names_that_would_break_the_list_of_dropped_parameters(gateway: RunningGateway, name: str) -> None:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}], "temperature": 0.2, name: 1}
    async with RawClient(gateway.url) as client:
        await client.send(post("/v1/chat/completions", json.dumps(body).encode(), "Connection: close"))
        answer = await client.read_all()
    headers = headers_of(answer)
    assert "x-evil" not in headers
    assert headers.keys() <= OURS
    assert len(answer.partition(b"\r\n\r\n")[0]) < 2048


@pytest.mark.parametrize("path", ["/a%0d%0aX-Evil:%201", "/v1/models/a%0d%0aX-Evil:%201", "/%c0%ae", "/%ff%00"])
async def test_paths_that_would_break_a_header(gateway: RunningGateway, path: str) -> None:
    async with RawClient(gateway.url) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
        answer = await client.read_all()
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert headers_of(answer).keys() <= OURS


async def test_what_a_caller_sends_is_not_sent_on(start_gateway: StartGateway) -> None:
    """No header of the caller's reaches the vendor: no cookies, no keys, nothing that affects the call."""
    seen: list[bytes] = []
    data = http(200, json.dumps(ANSWER).encode())
    async with answering(data, seen) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "our-key"})
        await gateway.post(
            "/v1/chat/completions",
            {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]},
            headers={
                "Authorization": "Bearer callers-key",
                "Cookie": "callers-cookie=1",
                "OpenAI-Organization": "callers-org",
                "X-Forwarded-For": "198.51.100.7",
                "PAYMENT-SIGNATURE": "callers-payment",
                "X-Custom": "callers-header",
            },
        )
    [head] = seen
    assert b"Bearer our-key" in head
    assert b"callers-" not in head
    assert b"198.51.100.7" not in head
