"""Build tools get the proxies and caches of the user's environment, and nothing that could change what they build."""

import pytest

from nitro.command import run

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
