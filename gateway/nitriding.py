"""The enclave daemon's internal API: vouch for our signing key, then let the public in.

nitriding holds the public port shut (``-wait-for-app``) until the application says that it is ready, and puts the
hash that was registered last into ``user_data`` of every attestation document (facts/enclave.md 1.2, 1.3).
The order is the caller's: :meth:`Nitriding.wait`, bind the port, :meth:`Nitriding.register_key`,
:meth:`Nitriding.signal_ready`. A caller that goes on after an error would serve a key that nobody can attest.
"""

import base64
import hashlib

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

INTERNAL_URL = "http://127.0.0.1:8080"
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)


class NitridingError(Exception):
    """The daemon cannot be used as it should; the process must not go on."""


class DaemonUnreachableError(NitridingError):
    """Nothing usable answered on the internal port within the patience given."""


class KeyRefusedError(NitridingError):
    """The hash of the signing key was not taken, so attestation would carry 32 zero bytes."""


class ReadyRefusedError(NitridingError):
    """The public port was not opened by us: 404 without ``-wait-for-app``, 410 when it was opened before."""


class _NotYetError(Exception):
    """One try failed in a way that time can mend."""


class Nitriding:
    """A client of nitriding's internal API, which listens on the enclave's loopback only.

    ``patience`` is the time in seconds that :meth:`wait` and :meth:`register_key` each keep trying.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str = INTERNAL_URL, *, patience: float = 60.0) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._patience = patience

    async def wait(self) -> None:
        """Return once the daemon serves its hash route; a GET there is answered 405 and changes nothing.

        Raises :class:`DaemonUnreachableError`.
        """
        status, text = await self._persist("GET", "/enclave/hash")
        if status != 405:
            raise DaemonUnreachableError(f"{self._url} is not nitriding: GET /enclave/hash gave {status} {text}")

    async def register_key(self, spki_der: bytes) -> bytes:
        """Register SHA-256 of the signing key's SubjectPublicKeyInfo DER; the 32-byte hash is returned.

        The route overwrites, so repeating it is safe. Raises ``ValueError`` when ``spki_der`` is no public key,
        :class:`DaemonUnreachableError`, :class:`KeyRefusedError`.
        """
        try:
            load_der_public_key(spki_der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("the signing key is not a SubjectPublicKeyInfo in DER") from error
        digest = hashlib.sha256(spki_der).digest()
        status, text = await self._persist("POST", "/enclave/hash", base64.b64encode(digest))
        if status != 200:
            raise KeyRefusedError(f"POST /enclave/hash gave {status} {text}")
        return digest

    async def signal_ready(self) -> None:
        """Open the public port; call it once, after our own port is bound.

        Never repeated: the daemon answers once with 200 and with 410 ever after, so a lost answer cannot be told
        from somebody else having opened the port. Raises :class:`DaemonUnreachableError`, :class:`ReadyRefusedError`.
        """
        try:
            status, text = await self._send("GET", "/enclave/ready", None)
        except _NotYetError as error:
            raise DaemonUnreachableError(f"{self._url}/enclave/ready: {error}") from error
        if status != 200:
            raise ReadyRefusedError(f"GET /enclave/ready gave {status} {text}")

    async def _persist(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_NotYetError),
            wait=wait_exponential(multiplier=0.02, max=1),
            stop=stop_after_delay(self._patience),
            reraise=True,
        )
        try:
            return await retrying(self._send, method, path, body)
        except _NotYetError as error:
            raise DaemonUnreachableError(f"{self._url}{path} after {self._patience:g} s: {error}") from error

    async def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, str]:
        """Status and the start of the text, which for nitriding is one line about what was wrong."""
        try:
            async with self._session.request(
                method, self._url + path, data=body, timeout=_REQUEST_TIMEOUT, allow_redirects=False
            ) as response:
                text = _one_line((await response.content.read(200)).decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _NotYetError(_one_line(f"{type(error).__name__} {error}")) from error
        if response.status >= 500:
            raise _NotYetError(f"{response.status} {text}")
        return response.status, text


def _one_line(text: str) -> str:
    return " ".join(text.split())
