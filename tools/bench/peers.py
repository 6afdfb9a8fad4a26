"""LiteLLM and Portkey, installed into ``build/bench`` and run with minimal configurations."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.bench.servers import FOLDER, Server, StartError, serve

INSTALL_SECONDS = 600.0
_LITELLM_MODELS = (("gpt-4.1", "openai"), ("claude-sonnet-4-5", "anthropic"))

_NO_CLIENT_KEYS = "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"
"""Disables the check of client keys, which the other targets do not perform either."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another gateway. ``start`` returns the server's command and environment. ``{folder}`` in ``installer`` is
    ``folder``, and ``installed`` is a file in it that exists after the installation."""

    name: str
    package: str
    installed: str
    installer: tuple[tuple[str, ...], ...]
    start: Callable[[Path, Mapping[str, str]], tuple[list[str], dict[str, str]]]
    headers: Callable[[Mapping[str, str], str], dict[str, str]]

    @property
    def folder(self) -> Path:
        return (FOLDER / self.name).absolute()

    def install(self) -> None:
        """Raises StartError if the package cannot be installed."""
        if (self.folder / self.installed).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for line in self.installer:
            command = [part.format(folder=self.folder, package=self.package) for part in line]
            if shutil.which(command[0]) is None:
                raise StartError(f"{command[0]} is missing")
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                raise StartError(f"{self.package} could not be installed") from None

    def serve(self, environment: Mapping[str, str]) -> AbstractContextManager[Server]:
        command, variables = self.start(self.folder, environment)
        return serve(self.name, command, variables)


def _litellm(folder: Path, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"{provider}/{name}",
                "api_base": environment[f"{provider.upper()}_BASE_URL"],
                "api_key": environment[f"{provider.upper()}_API_KEY"],
            },
        }
        for name, provider in _LITELLM_MODELS
    ]
    config = folder / "config.yaml"
    config.write_bytes(msgspec.json.encode({"model_list": models, "litellm_settings": {"telemetry": False}}))
    command = [str(folder / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", "{port}"]
    return command, {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "NO_DOCS": "True", _NO_CLIENT_KEYS: "true"}


def _portkey(folder: Path, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    script = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    hosts = ",".join(url.partition("://")[2].partition("/")[0] for name, url in environment.items() if "_URL" in name)
    command = ["node", str(script), "--headless", "--port={port}"]
    return command, {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": f"127.0.0.1,localhost,{hosts}"}


def _no_headers(environment: Mapping[str, str], provider: str) -> dict[str, str]:
    return {}


def _portkey_headers(environment: Mapping[str, str], provider: str) -> dict[str, str]:
    base = environment[f"{provider.upper()}_BASE_URL"]
    return {
        "x-portkey-provider": provider,
        "x-portkey-custom-host": base if base.endswith("/v1") else f"{base}/v1",
        "Authorization": f"Bearer {environment[f'{provider.upper()}_API_KEY']}",
    }


_LITELLM = Peer(
    name="litellm",
    package="litellm[proxy]==1.106.2",
    installed="bin/litellm",
    installer=(
        (sys.executable, "-m", "venv", "{folder}"),
        ("{folder}/bin/pip", "install", "--quiet", "{package}"),
    ),
    start=_litellm,
    headers=_no_headers,
)
_PORTKEY = Peer(
    name="portkey",
    package="@portkey-ai/gateway@1.15.2",
    installed="node_modules/@portkey-ai/gateway/build/start-server.js",
    installer=(("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", "{folder}", "{package}"),),
    start=_portkey,
    headers=_portkey_headers,
)
PEERS = {peer.name: peer for peer in (_LITELLM, _PORTKEY)}
