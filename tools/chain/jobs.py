"""Settlement jobs as OpenGradient's facilitator queues them (facts/x402.md 2.3)."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tools.chain.faults import JobMode

Json = dict[str, Any]
Settlement = Callable[[], Awaitable[Json]]
"""Settles one payment and returns its SettleResponse."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(slots=True)
class Job:
    """`status` goes queued → processing → succeeded | failed; succeeded says only that the worker came back."""

    id: str = field(default_factory=lambda: f"payment-{uuid.uuid4()}")
    status: str = "queued"
    created_at: str = field(default_factory=_now)
    updated_at: str = field(default_factory=_now)
    result: Json | None = None

    def json(self) -> Json:
        fields = {
            "jobId": self.id,
            "queue": "payment",
            "status": self.status,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
        }
        return fields if self.result is None else fields | {"result": self.result}

    def move(self, status: str, result: Json | None = None) -> None:
        self.status, self.result, self.updated_at = status, result, _now()


class Jobs:
    """A queue with one worker, as in the original: no job is recognised as a duplicate of another.

    The worker runs in the loop that makes the queue, until `stop`.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._queue: asyncio.Queue[tuple[Job, JobMode, Settlement]] = asyncio.Queue()
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        self._worker.cancel()
        await asyncio.wait([self._worker])

    def submit(self, mode: JobMode, settlement: Settlement) -> Job:
        job = Job()
        self._jobs[job.id] = job
        self._queue.put_nowait((job, mode, settlement))
        return job

    def find(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    async def _work(self) -> None:
        while True:
            job, mode, settlement = await self._queue.get()
            job.move("processing")
            await asyncio.sleep(mode.seconds)
            if mode.outcome == "failed":
                job.move("failed")
            elif mode.outcome != "stalled":
                await self._settle(job, settlement)
            if mode.outcome == "lost":
                del self._jobs[job.id]

    async def _settle(self, job: Job, settlement: Settlement) -> None:
        try:
            job.move("succeeded", await settlement())
        except Exception:  # one job's fault must not stop the queue
            job.move("failed")
