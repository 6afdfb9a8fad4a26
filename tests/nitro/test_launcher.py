"""nitro/run-enclave.sh end to end, on a host whose commands are stand-ins (``launcher_host``)."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.nitriding_daemon import opened
from tests.nitriding_double import MEASUREMENTS, NitridingDouble
from tests.nitro.launcher_host import BEHAVIOUR, ENCLAVE, SECRET, Host, on
from tools.inject.env_file import FIELDS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launch_from_start_to_ctrl_c(host: Host, number: signal.Signals) -> None:
    with host.launched() as (process, endpoints):
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert f"enclave      {ENCLAVE}, CID 4, 2 CPUs, 8192 MiB" in endpoints
    assert "https://<this host>:443/enclave/attestation?nonce=" in endpoints
    assert "journal      enclave-journal\n" in endpoints
    assert f"nitro-cli terminate-enclave --enclave-id {ENCLAVE}" in host.calls
    assert host.nothing_is_left()


def takes_a_second(host: Host, subcommand: str) -> None:
    """Let this subcommand of nitro-cli take a second, in which ``interrupt`` sends its signal."""
    host.behaviour["nitro-cli"] = (
        f"""[[ $1 != {subcommand} ]] || {{ echo $$ >"$NOTES/nitro-cli.pid"; sleep 1 & wait; }}\n"""
        + BEHAVIOUR["nitro-cli"]
    )


def interrupt(host: Host, process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal the launcher and nitro-cli, as Ctrl-C does, once the subcommand runs."""
    deadline = time.monotonic() + 20
    while not (pid := host.pid("nitro-cli")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    os.kill(pid, number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_stop_the_clean_up(host: Host, number: signal.Signals) -> None:
    takes_a_second(host, "terminate-enclave")
    with host.launched() as (process, _):
        process.send_signal(number)
        interrupt(host, process, number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert host.nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_enclave_is_ended_that_came_up_while_the_launch_was_stopped(host: Host, number: signal.Signals) -> None:
    """Its id is known only once nitro-cli has answered. Ctrl-C reaches nitro-cli as well, and must not stop it."""
    takes_a_second(host, "run-enclave")
    process = host.start("gateway.eif")
    interrupt(host, process, number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert host.calls[-1] == f"nitro-cli terminate-enclave --enclave-id {ENCLAVE}"
    assert not host.called("python3 -m tools.inject --")
    assert host.nothing_is_left()


def test_what_is_called_in_which_order(host: Host) -> None:
    host.launch_and_stop()
    steps = (
        "python3 -c",
        "ss -Hltn sport = :443",
        "ss -Hltn sport = :8000",
        "ss -Hltn sport = :8010",
        r"python3 -m tools.inject.journal_key \.env",
        "curl .*--head .*http://127.0.0.1:8010/",
        "curl (?!.*--show-error).*forwarder/expose .*:443.*192.168.127.2:443",  # gvproxy is not there at once
        "curl .*forwarder/expose .*127.0.0.1:8000.*192.168.127.2:8000",
        "nitro-cli run-enclave --eif-path gateway.eif --enclave-cid 4 --cpu-count 2 --memory 8192",
        "curl .*https://127.0.0.1:443/health",
        "python3 -m tools.verify attestation --url https://127.0.0.1:443 --measurements .*/measurements.txt",
        "python3 -m tools.inject --url http://127.0.0.1:8000 .*--env-file .env",
        "curl .*https://127.0.0.1:443/health/ready",
    )
    background = ("gvproxy", "python3 -m tools.journal_sink")
    calls = [call for call in host.calls if not call.startswith(background)]
    for step, call in zip(steps, calls, strict=False):
        assert re.match(step, call), f"{call} came where {step} should"
    assert "python3 -m tools.journal_sink --folder enclave-journal --port 8010" in host.calls
    scratch = re.escape(str(host.folder / "tmp"))
    flags = rf"-listen vsock://:1024 -listen unix://{scratch}/[^/]+/gvproxy\.sock"
    assert any(re.fullmatch(f"gvproxy {flags}", call) for call in host.calls)


def test_settings_reach_the_commands(host: Host) -> None:
    host.settings = {
        "ENCLAVE_CID": "16",
        "ENCLAVE_CPUS": "4",
        "ENCLAVE_MEMORY": "4096",
        "PUBLIC_PORT": "8443",
        "HOST_PORT": "9000",
        "ENV_FILE": "keys",
        "JOURNAL_FOLDER": "elsewhere/journal",
    }
    (host.folder / ".env").rename(host.folder / "keys")
    host.launch_and_stop()
    assert host.called("nitro-cli run-enclave --eif-path gateway.eif --enclave-cid 16 --cpu-count 4 --memory 4096")
    assert host.called("ss -Hltn sport = :8443")
    assert host.called("python3 -m tools.verify attestation --url https://127.0.0.1:8443")
    assert host.called("python3 -m tools.inject.journal_key keys")
    assert host.called("python3 -m tools.journal_sink --folder elsewhere/journal")
    inject = next(call for call in host.calls if call.startswith("python3 -m tools.inject --"))
    assert "--url http://127.0.0.1:9000" in inject
    assert "--env-file keys" in inject


def test_no_proxy_is_asked_for_this_host(host: Host) -> None:
    host.settings = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), "http://proxy.example:3128"
    )
    host.launch_and_stop()
    assert "proxy.example" not in (host.folder / "notes" / "environments").read_text()


def test_keys_reach_no_command(host: Host) -> None:
    secrets = {name for name in FIELDS if "KEY" in name} | {"GATEWAY_UPTO_TRIAL_KEY", "EVM_RPC_URL", "GATEWAY_RPC_URL"}
    host.settings = dict.fromkeys(secrets, SECRET)
    host.launch_and_stop()
    assert host.called("python3 -m tools.inject --")
    assert SECRET not in "\n".join(host.calls)
    environments = (host.folder / "notes" / "environments").read_text()
    assert environments.count("NOTES=") == len(host.calls)
    assert SECRET not in environments


@pytest.mark.parametrize("arguments", [(), ("a.eif", "b.eif"), ("--eif",), ("absent.eif",)])
def test_usage(host: Host, arguments: tuple[str, ...]) -> None:
    code, _, errors = host.run(*arguments)
    assert code == 2
    assert "usage: nitro/run-enclave.sh EIF" in errors or "absent.eif is not a readable file" in errors
    assert host.calls == []


def test_help_is_no_error(host: Host) -> None:
    code, output, errors = host.run("--help")
    assert (code, errors) == (0, "")
    assert "ENCLAVE_CID" in output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENCLAVE_CID", "3"),
        ("ENCLAVE_CPUS", "two"),
        ("ENCLAVE_MEMORY", "-1"),
        ("PUBLIC_PORT", "0"),
        ("PUBLIC_PORT", "65536"),
        ("HOST_PORT", "70000"),
    ],
)
def test_settings_are_checked_before_anything_starts(host: Host, name: str, value: str) -> None:
    host.settings = {name: value}
    code, _, errors = host.run("gateway.eif")
    assert code == 2
    assert f"{name} is '{value}'" in errors
    assert host.calls == []


@pytest.mark.parametrize(
    "settings",
    [{"HOST_PORT": "8010"}, {"HOST_PORT": "08010"}, {"PUBLIC_PORT": "8010"}, {"HOST_PORT": "443"}],
    ids=str,
)
def test_two_listeners_on_one_port_are_refused_before_anything_starts(host: Host, settings: dict[str, str]) -> None:
    host.settings = settings
    code, _, errors = host.run("gateway.eif")
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert "HOST_PORT" in errors
    assert host.calls == []


@pytest.mark.parametrize("tool", sorted(BEHAVIOUR))
def test_a_missing_tool_is_named(host: Host, tool: str) -> None:
    del host.behaviour[tool]
    code, _, errors = host.run("gateway.eif")
    assert (code, errors) == (3, f"run-enclave: missing: {tool}\n")


def test_all_missing_tools_are_named_at_once(host: Host) -> None:
    host.behaviour = {"curl": "", "python3": ""}
    code, _, errors = host.run("gateway.eif")
    assert (code, errors) == (3, "run-enclave: missing: nitro-cli gvproxy ss\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is missing or cannot be read"),
        ("", r"sets no \*_API_KEY"),
        ("#OPENAI_API_KEY=sk\nOPENAI_API_KEY=\nXAI_API_KEY=''\n", r"sets no \*_API_KEY"),
    ],
)
def test_an_env_file_without_keys(host: Host, content: str | None, reason: str) -> None:
    (host.folder / ".env").unlink()
    if content is not None:
        (host.folder / ".env").write_text(content)
    code, _, errors = host.run("gateway.eif")
    assert code == 5
    assert re.fullmatch(rf"run-enclave: \.env {reason}\n", errors)
    assert not host.called("gvproxy")


@pytest.mark.parametrize("line", ["  OPENAI_API_KEY=sk", "export\tXAI_API_KEY='sk'", '\texport  ARK_API_KEY="sk"'])
def test_an_env_file_as_the_injection_reads_it(host: Host, line: str) -> None:
    (host.folder / ".env").write_text(line)
    host.launch_and_stop()
    assert host.called("python3 -m tools.inject --")


SINK_ENDED = 'until [[ -s $NOTES/sink.pid ]]; do sleep 0.05; done; kill -KILL "$(<"$NOTES/sink.pid")"; exit 7'
"""Fails once the sink runs, as curl's retries do: bash may warn of "No record of process" if a new child is killed."""
NOT_READY = r"printf '{reasons: the facilitator is not usable}\n503'; exit"


@pytest.mark.parametrize(
    ("tool", "behaviour", "code", "reason"),
    [
        ("python3", on("-c*", "exit 1"), 3, "python3 lacks aiohttp, cbor2 or cryptography"),
        ("ss", on("*:443", "echo LISTEN 0 128 0.0.0.0:443"), 4, "port 443 is taken"),
        ("ss", on("*:8000", "echo LISTEN 0 128 127.0.0.1:8000"), 4, "port 8000 is taken"),
        ("ss", on("*:8010", "echo LISTEN 0 128 127.0.0.1:8010"), 4, "port 8010 is taken"),
        (
            "python3",
            on("*journal_key*", "echo .env is odd >&2; exit 2"),
            5,
            ".env is odd; set JOURNAL_FOLDER= to run without a journal",
        ),
        ("curl", on("*:8010/", SINK_ENDED), 6, "the journal sink for enclave-journal does not respond"),
        ("curl", on("*expose*:443*", "exit 7"), 6, "gvproxy does not forward :443 to port 443"),
        ("curl", on("*expose*8000*", "exit 22"), 6, "gvproxy does not forward 127.0.0.1:8000 to port 8000"),
        ("nitro-cli", "exit 1", 6, "nitro-cli could not launch gateway.eif"),
        ("nitro-cli", "echo {}; exit", 6, "nitro-cli returned no enclave ID"),
        ("curl", on("*/health*", "exit 28"), 7, "https://127.0.0.1:443/health did not respond within 180 s"),
        ("python3", on("*tools.verify?attestation*", "exit 1"), 8, "no key was injected"),
        ("python3", on("*tools.inject?--*", "exit 1"), 9, "the keys were not injected"),
        ("curl", on("*/health/ready", r"printf '\n000'; exit 28"), 7, "is not ready after 0 s: no response"),
        ("curl", on("*/health/ready", r"printf 'bad gateway\n502'; exit"), 7, "is not ready after 0 s: bad gateway"),
        ("curl", on("*/health/ready", NOT_READY), 7, "after 0 s: {reasons: the facilitator is not usable}"),
    ],
)
def test_every_failure_has_its_line_and_its_status(
    host: Host, tool: str, behaviour: str, code: int, reason: str
) -> None:
    host.behaviour[tool] = f"{behaviour}\n{BEHAVIOUR[tool]}"
    host.settings = {"READY_SECONDS": "0"}
    status, output, errors = host.run("gateway.eif")
    assert (status, output) == (code, "")
    assert errors.count("\n") == 1
    assert reason in errors
    if code < 9 and tool != "curl":
        assert not host.called("python3 -m tools.inject --")
    assert host.called(f"nitro-cli terminate-enclave --enclave-id {ENCLAVE}") is (code > 6)
    assert host.nothing_is_left()


def test_what_gvproxy_said_before_it_ended_is_told(host: Host) -> None:
    host.behaviour["gvproxy"] = "echo waiting; echo 'listen tcp 127.0.0.1:2222: address already in use'; exit 1"
    host.behaviour["curl"] = on("*expose*", "sleep 0.5; exit 7") + f"\n{BEHAVIOUR['curl']}"
    code, _, errors = host.run("gateway.eif")
    assert code == 6
    assert errors == (
        "run-enclave: gvproxy does not forward :443 to port 443 of the enclave: "
        "listen tcp 127.0.0.1:2222: address already in use\n"
    )


def test_a_gvproxy_that_says_nothing_is_no_other_failure(host: Host) -> None:
    """Its log may not exist yet when it is read."""
    host.behaviour["curl"] = on("*expose*", 'rm -f "$TMPDIR"/*/gvproxy.log; exit 7') + f"\n{BEHAVIOUR['curl']}"
    code, _, errors = host.run("gateway.eif")
    assert (code, errors) == (6, "run-enclave: gvproxy does not forward :443 to port 443 of the enclave\n")


def test_a_gateway_that_is_ready_only_later(host: Host) -> None:
    host.behaviour["curl"] = (
        on("*/health/ready", f'echo >>"$NOTES/asked"; (($(wc -l <"$NOTES/asked") > 2)) || {{ {NOT_READY}; }}')
        + f"\n{BEHAVIOUR['curl']}"
    )
    host.launch_and_stop()
    assert len([call for call in host.calls if call.endswith("/health/ready")]) == 3


def test_no_measurements_no_launch(host: Host) -> None:
    (host.folder / "measurements.txt").unlink()
    code, _, errors = host.run("gateway.eif")
    assert code == 8
    assert "is missing or cannot be read: the enclave cannot be verified" in errors
    assert not host.called("nitro-cli")


async def test_an_enclave_that_aws_does_not_vouch_for_gets_no_keys(host: Host, tmp_path: Path) -> None:
    """Runs our real tools; the enclave is a double with correct registers under a root of its own."""
    host.behaviour["python3"] = (
        on("*tools.verify*", f'exec {shlex.quote(sys.executable)} "$@"') + f"\n{BEHAVIOUR['python3']}"
    )
    (host.folder / "measurements.txt").write_text(json.dumps(MEASUREMENTS))
    async with NitridingDouble(tmp_path) as double:
        url, _ = await opened(double)
        host.settings = {"PUBLIC_PORT": url.rpartition(":")[2]}
        code, output, errors = await asyncio.to_thread(host.run, "gateway.eif")
    assert code == 8
    claims = dict(line.split()[1::-1] for line in output.splitlines() if line[:5] in ("PASS ", "FAIL "))
    assert claims["chain"] == "FAIL"
    assert claims["pcrs"] == claims["nonce"] == claims["tls_cert"] == "PASS"
    measurements = host.folder / "measurements.txt"
    assert errors == f"run-enclave: the enclave could not be verified against {measurements}; no key was injected\n"
    assert not host.called("python3 -m tools.inject --")
    assert host.called(f"nitro-cli terminate-enclave --enclave-id {ENCLAVE}")


def test_incomplete_measurements_no_keys(host: Host) -> None:
    """Verifies with the real tool, not a stand-in, by a file without PCR0 and PCR2."""
    host.behaviour["python3"] = (
        on("*tools.verify*", f'exec {shlex.quote(sys.executable)} "$@"') + f"\n{BEHAVIOUR['python3']}"
    )
    content = {"Measurements": {"HashAlgorithm": "SHA384", "PCR1": "11" * 48}, "recipe": {}}
    measurements = host.folder / "measurements.txt"
    measurements.write_text(json.dumps(content))
    code, output, errors = host.run("gateway.eif")
    assert (code, output) == (8, "")
    path = re.escape(str(measurements))
    assert re.fullmatch(
        rf"python -m tools\.verify attestation: the measurements {path} are incomplete, without PCR0, PCR2: "
        r".* `make kernel` and `python -m nitro\.measurements --write` complete it\n"
        rf"run-enclave: the enclave could not be verified against {path}; no key was injected\n",
        errors,
    )
    assert not host.called("python3 -m tools.inject --")
    assert host.called(f"nitro-cli terminate-enclave --enclave-id {ENCLAVE}")


def test_incomplete_measurements_hide_no_failed_launch(host: Host) -> None:
    host.behaviour["python3"] = on("*tools.verify*", "exit 2") + f"\n{BEHAVIOUR['python3']}"
    host.behaviour["nitro-cli"] = f"exit 1\n{BEHAVIOUR['nitro-cli']}"
    assert host.run("gateway.eif")[0] == 6


@pytest.mark.parametrize("gone", ["enclave", "gvproxy"])
def test_an_enclave_that_ends_is_noticed(host: Host, gone: str) -> None:
    host.settings = {"WATCH_SECONDS": "1"}
    with host.launched() as (process, _):
        if gone == "enclave":
            (host.folder / "notes" / "described").write_text("[]")
        else:
            os.kill(int((host.folder / "notes" / "gvproxy.pid").read_text()), signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 6
    assert errors == f"run-enclave: enclave {ENCLAVE} or its gvproxy has ended\n"
    assert host.nothing_is_left()


def test_an_enclave_that_cannot_be_terminated_is_named(host: Host) -> None:
    host.behaviour["nitro-cli"] = on("terminate*", "exit 1") + "\n" + BEHAVIOUR["nitro-cli"]
    with host.launched() as (process, _):
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert errors == f"run-enclave: enclave {ENCLAVE} could not be terminated\n"
