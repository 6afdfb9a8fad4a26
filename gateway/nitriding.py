"""Client of nitriding's internal API: register the signing key for attestation, then open the public port.

nitriding keeps the public port closed (``-wait-for-app``) until the application signals that it is ready, and puts the
hash registered last into ``user_data`` of every attestation document (facts/enclave.md 1.2, 1.3). The caller keeps
the order: ``wait``, bind the port, ``register_key``, ``signal_ready``. It must not continue after an error, or it would
serve a key that cannot be attested.
"""

import base64
import hashlib

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

INTERNAL_URL = "http://127.0.0.1:8080"
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)


class NitridingError(Exception):
    """The daemon cannot be reached, or did not do its part; the process must not start serving."""


class _TransientError(Exception):
    """An attempt failed in a way worth retrying."""


class Nitriding:
    """A client of nitriding's internal API, which listens on the enclave's loopback only.

    ``timeout`` is how long in seconds ``wait`` and ``register_key`` each keep retrying.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str = INTERNAL_URL, *, timeout: float = 60.0) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._timeout = timeout

    async def wait(self) -> None:
        """Wait until the daemon answers at its hash route, where a GET changes nothing.

        Raises NitridingError.
        """
        await self._send_with_retry("GET", "/enclave/hash")

    async def register_key(self, spki_der: bytes) -> None:
        """Register the SHA-256 of the signing key's SubjectPublicKeyInfo DER; before that, documents carry zeros.

        The call is idempotent. Raises NitridingError.
        """
        digest = hashlib.sha256(spki_der).digest()
        status, text = await self._send_with_retry("POST", "/enclave/hash", base64.b64encode(digest))
        if status != 200:
            raise NitridingError(f"POST /enclave/hash returned {status} {text}")

    async def signal_ready(self) -> None:
        """Open the public port; call it once, after the gateway's own port is bound.

        Never retried: the daemon answers 200 once and 410 from then on (404 without ``-wait-for-app``), so after a
        lost response a 410 would not show who has opened the port. Raises NitridingError.
        """
        try:
            status, text = await self._send("GET", "/enclave/ready", None)
        except _TransientError as error:
            raise NitridingError(f"{self._url}/enclave/ready: {error}") from error
        if status != 200:
            raise NitridingError(f"GET /enclave/ready returned {status} {text}")

    async def _send_with_retry(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError),
            wait=wait_exponential(multiplier=0.02, max=1),
            stop=stop_after_delay(self._timeout),
            reraise=True,
        )
        try:
            return await retrying(self._send, method, path, body)
        except _TransientError as error:
            raise NitridingError(f"{self._url}{path} after {self._timeout:g} s: {error}") from error

    async def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, str]:
        """Status and the beginning of the text, for nitriding one line that names the error."""
        try:
            async with self._session.request(
                method, self._url + path, data=body, timeout=_REQUEST_TIMEOUT, allow_redirects=False
            ) as response:
                text = _one_line((await response.content.read(200)).decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _TransientError(_one_line(f"{type(error).__name__} {error}")) from error
        if response.status >= 500:
            raise _TransientError(f"{response.status} {text}")
        return response.status, text


def _one_line(text: str) -> str:
    return " ".join(text.split())
