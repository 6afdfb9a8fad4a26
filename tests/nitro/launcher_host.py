"""A simulated parent instance in a folder, for nitro/run-enclave.sh: every external command is a stand-in.

A stand-in logs its arguments and environment, then runs its ``behaviour``, a line or two of shell.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "nitro" / "run-enclave.sh"
ENCLAVE = "i-0123456789abcdef0-enc0123456789abcde"
SECRET = "sk-never-to-be-seen"
BACKGROUND = ("gvproxy", "sink")
COREUTILS = ("bash", "cat", "dirname", "env", "grep", "mktemp", "rm", "sleep", "tail", "wc")

BEHAVIOUR = {
    "nitro-cli": f"""case $1 in
        run-enclave) echo '{{ "EnclaveID": "{ENCLAVE}", "EnclaveCID": 4 }}' ;;
        describe-enclaves) cat "$NOTES/described" ;;
        esac""",
    "gvproxy": 'echo $$ >"$NOTES/gvproxy.pid"; exec sleep 60',
    "curl": """case $* in
        */health/ready) printf '{}\\n200'; exit ;;
        *:8010/) waited=sink ;;
        *) waited=gvproxy ;;
        esac
        for _ in {1..200}; do [[ -s $NOTES/$waited.pid ]] && exit 0; sleep 0.05; done
        exit 7""",
    "python3": 'if [[ $* == *tools.journal_sink* ]]; then echo $$ >"$NOTES/sink.pid"; exec sleep 60; fi',
    "ss": "",
}


@dataclass
class Host:
    """A simulated parent instance: its commands, its files, and the logged calls."""

    folder: Path
    behaviour: dict[str, str] = field(default_factory=lambda: dict(BEHAVIOUR))
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("bin", "notes", "tmp"):
            (self.folder / name).mkdir()
        (self.folder / "gateway.eif").write_bytes(b".eif")
        (self.folder / "measurements.txt").write_text("{}")
        (self.folder / ".env").write_text(f"# provider keys\nOPENAI_API_KEY={SECRET}\n")
        (self.folder / "notes" / "described").write_text(f'[{{ "EnclaveID": "{ENCLAVE}" }}]')

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        for name in COREUTILS:
            where = shutil.which(name)
            assert where is not None
            (self.folder / "bin" / name).symlink_to(where)
        for name, does in self.behaviour.items():
            command = self.folder / "bin" / name
            command.write_text(f'#!/bin/bash\necho "{name} $*" >>"$NOTES/calls"\nenv >>"$NOTES/environments"\n{does}\n')
            command.chmod(0o755)
        environment = {
            "PATH": str(self.folder / "bin"),
            "NOTES": str(self.folder / "notes"),
            "TMPDIR": str(self.folder / "tmp"),
            "MEASUREMENTS": str(self.folder / "measurements.txt"),
            **self.settings,
        }
        return subprocess.Popen(
            [str(SCRIPT), *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def launched(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """The running script once it is up, and its output so far."""
        with self.start("gateway.eif") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            printed = ""
            for line in process.stdout:
                printed += line
                if line.startswith("host only"):
                    break
            else:
                raise AssertionError(process.stderr.read())
            try:
                yield process, printed
            finally:
                process.terminate()

    def launch_and_stop(self) -> None:
        with self.launched() as (process, _):
            process.terminate()
            process.communicate(timeout=30)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors

    @property
    def calls(self) -> list[str]:
        notes = self.folder / "notes" / "calls"
        return notes.read_text().splitlines() if notes.exists() else []

    def called(self, start: str) -> bool:
        return any(call.startswith(start) for call in self.calls)

    def pid(self, name: str) -> int:
        """Process id of the stand-in started last; 0 if none."""
        noted = self.folder / "notes" / f"{name}.pid"
        return int(noted.read_text() or 0) if noted.exists() else 0

    def nothing_is_left(self) -> bool:
        """Wait until no background process and no scratch folder is left."""
        for _ in range(100):
            if all(ended(self.pid(name)) for name in BACKGROUND):
                return not list((self.folder / "tmp").iterdir())
            time.sleep(0.05)
        return False


def ended(pid: int) -> bool:
    try:
        return pid == 0 or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def on(condition: str, does: str) -> str:
    """Shell code for a stand-in: ``does`` if its arguments match ``condition``."""
    return f'if [[ "$*" == {condition} ]]; then {does}; fi'
