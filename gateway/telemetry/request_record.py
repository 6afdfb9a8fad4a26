"""What is recorded of one request, for metrics, the request log and traces."""

import time

import msgspec


class RequestRecord(msgspec.Struct):
    """Filled in while the request is served. Durations are in seconds; the log line leaves out what is None.

    ``chunks`` is the number of batches of events written to a stream, ``own_seconds`` the time that took the gateway.
    ``payment`` is the payment's short id, ``payment_status`` the status in its receipt: ``state`` says nothing of that.
    ``started``, ``dispatched``, ``last_output`` and ``answered`` are readings of ``time.perf_counter``. What comes from
    ``started`` on is not logged.
    """

    id: str
    method: str
    path: str
    status: int = 0
    model: str | None = None
    upstream: str | None = None
    upstream_request_id: str | None = None
    served_model: str | None = None
    stream: bool | None = None
    state: str | None = None
    payment: str | None = None
    payment_status: str | None = None
    error: str | None = None
    error_class: str | None = None
    fault: str | None = None
    upstream_status: int | None = None
    attempts: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool | None = None
    cost_usd: str | None = None
    client_left: bool | None = None
    seconds: float | None = None
    upstream_seconds: float | None = None
    payment_seconds: float | None = None
    first_byte_seconds: float | None = None
    chunks: int | None = None
    answer_id: str | None = None
    finish_reasons: list[str] | None = None
    started: float = msgspec.field(default_factory=time.perf_counter)
    own_seconds: float = 0.0
    dispatched: float | None = None
    last_output: float | None = None
    answered: float | None = None
    traceparent: str | None = None
