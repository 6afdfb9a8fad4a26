"""The mutated modules with their tests, and the equivalent mutants with reasons."""

TARGETS: dict[str, tuple[str, ...]] = {
    "gateway.signing": ("tests/test_signing.py",),
    "gateway.envelope": ("tests/test_envelope.py",),
    "gateway.upstreams.sse": ("tests/upstreams/test_sse.py",),
    "gateway.openai_api.assembler": ("tests/openai_api/test_assembler.py",),
    "gateway.catalog": (
        "tests/test_catalog_names.py",
        "tests/test_catalog_checks.py",
        "tests/test_catalog_traits.py",
        "tests/test_catalog.py",
    ),
    "gateway.catalog_checks": ("tests/test_catalog_checks.py", "tests/test_catalog.py"),
}

_FAST_PATH = "the fast path is only taken less often; the slow path gives the same events"
_NO_CYCLES = "what was decoded from JSON has no cycles; the check for them only takes time"

# By module and mutant name. A stale entry, or one whose mutant is killed, fails the run.
EQUIVALENT: dict[str, dict[str, str]] = {
    "gateway.signing": {
        "Signer.__init__: 2048 → 2049": "OpenSSL makes both keys of two primes of 1024 bits",
    },
    "gateway.envelope": {
        ": json.JSONEncoder(sort_keys=True, check_circular=False) → json.JSONEncoder(sort_keys=True)": _NO_CYCLES,
        ": False → True": _NO_CYCLES,
        "signing_digest: timestamp.to_bytes(32, 'big') → timestamp.to_bytes(32)": "the default from 3.11",
    },
    "gateway.upstreams.sse": {
        "SSEReader.feed: len(chunk) - 2 → len(chunk) + 2": _FAST_PATH,
        "SSEReader.feed: b'data: ' → b'XXdata: '": _FAST_PATH,
        "SSEReader.feed: end <= self._limit → end < self._limit": _FAST_PATH,
    },
}
