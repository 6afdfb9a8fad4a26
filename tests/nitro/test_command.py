"""Build tools get the proxies and caches of the user's environment, and nothing that could change what they build."""

import pytest

from nitro.command import run
from nitro.errors import BuildError

PASSED = {
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "no_proxy"), "lower"),
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"), "upper"),
    "GOCACHE": "/caches/go-build",
    "XDG_CACHE_HOME": "/caches",
    "GOPROXY": "https://proxy.example",
    "UV_INDEX_URL": "https://index.example/simple",
}
WITHHELD = {
    "GOFLAGS": "-race",
    "CGO_ENABLED": "1",
    "SOURCE_DATE_EPOCH": "1",
    "UV_NO_BINARY": "1",
    "PYTHONPATH": "/elsewhere",
    "LANG": "tr_TR.UTF-8",
}


def test_the_tools_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PASSED, **WITHHELD, "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}.items():
        monkeypatch.setenv(name, value)
    lines = run(["env"], environment={"GOAMD64": "v1"}).decode().splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    assert environment.items() >= {**PASSED, "LC_ALL": "C.UTF-8", "TZ": "UTC", "GOAMD64": "v1"}.items()
    assert not WITHHELD.keys() & environment.keys()


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (["Resolved 3 packages", "error: no network"], "Resolved 3 packages | error: no network"),
        ([f"line {number}" for number in range(9)], " | ".join(f"line {number}" for number in range(3, 9))),
        (
            ["Downloading", "error: Failed", "  cause: Hash mismatch for a", *["locked"] * 50, "Computed:", "other"],
            "error: Failed |   cause: Hash mismatch for a | … | locked | locked | locked | locked | Computed: | other",
        ),
    ],
)
def test_the_cause_of_a_failure_is_told(printed: list[str], told: str) -> None:
    lines = "\n".join(printed)
    with pytest.raises(BuildError) as raised:
        run(["sh", "-c", f"echo '{lines}' >&2; exit 3"])
    assert str(raised.value).endswith(f" ended with 3: {told}")
