"""Run tests against mutants, each in a fork of a process that has preloaded everything but the project itself."""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from tools.mutate.operators import Mutant

_PROJECT = ("gateway", "tests", "tools", "conftest")
_MIN_TIMEOUT_SECONDS = 20.0
_CRASHED = 70


class BaselineError(Exception):
    """The tests fail on the unchanged module, or the targets are inconsistent."""


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    killed: bool
    timed_out: bool


class MutantRunner:
    """Runs the tests of one module against up to ``processes`` mutants at a time."""

    def __init__(self, root: Path, module: str, tests: Sequence[str], processes: int) -> None:
        self._root = root
        self._module = module
        self._path = root / (module.replace(".", "/") + ".py")
        self._tests = [str(root / test) for test in tests]
        self._processes = processes

    @property
    def source(self) -> str:
        return self._path.read_text(encoding="utf-8")

    def check_baseline(self) -> float:
        """Run the tests on the unchanged module and preload their imports. Returns seconds; raises BaselineError."""
        with tempfile.NamedTemporaryFile() as loaded:
            started = time.monotonic()
            pid = self._fork(compile(self.source, str(self._path), "exec"), Path(loaded.name))
            _, status = os.waitpid(pid, 0)
            seconds = time.monotonic() - started
            if status != 0:
                raise BaselineError(f"{self._module}: the tests fail on the unchanged module")
            for name in Path(loaded.name).read_text(encoding="utf-8").split():
                _preload(name)
        return seconds

    def run(self, mutants: Iterable[Mutant], seconds: float) -> Iterator[Verdict]:
        """Yield verdicts in order of completion. A mutant that exceeds 8 × ``seconds`` is killed by timeout."""
        timeout = max(_MIN_TIMEOUT_SECONDS, 8 * seconds)
        waiting = deque(mutants)
        running: dict[int, tuple[Mutant, float]] = {}
        while waiting or running:
            while waiting and len(running) < self._processes:
                mutant = waiting.popleft()
                running[self._fork(compile(mutant.tree(), str(self._path), "exec"))] = (mutant, time.monotonic())
            for pid, (mutant, started) in list(running.items()):
                elapsed = time.monotonic() - started
                if elapsed > timeout:
                    os.killpg(pid, signal.SIGKILL)
                done, status = os.waitpid(pid, 0 if elapsed > timeout else os.WNOHANG)
                if done:
                    del running[pid]
                    yield Verdict(mutant, killed=status != 0, timed_out=elapsed > timeout)
            time.sleep(0.01)

    def _fork(self, code: CodeType, loaded: Path | None = None) -> int:
        """Fork a process group that runs the tests with ``code`` as the module; its exit status is pytest's."""
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        status = _CRASHED
        try:
            os.setpgid(0, 0)
            _silence()
            sys.meta_path.insert(0, _Finder(self._module, code))
            status = _run_tests(self._root, self._tests)
            if loaded is not None:
                loaded.write_text("\n".join(name for name in sys.modules if not _is_project(name)), encoding="utf-8")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)


def _run_tests(root: Path, tests: list[str]) -> int:
    """Run pytest without the project's settings, fixtures and plugins, which takes a third of the time."""
    import pytest
    from hypothesis import settings

    settings.register_profile("mutants", derandomize=True, database=None, deadline=None, max_examples=20)
    settings.load_profile("mutants")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(root))
    options = ["-c", os.devnull, f"--rootdir={root}", "--noconftest", "--import-mode=importlib"]
    return int(pytest.main([*options, "-x", "-q", "--tb=no", "--no-summary", "-p", "no:cacheprovider", *tests]))


def _silence() -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)


def _is_project(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in _PROJECT or name.startswith("__")


def _preload(name: str) -> None:
    """Import a module if possible; a failure only costs time later."""
    with contextlib.suppress(Exception):
        importlib.import_module(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from compiled code."""

    def __init__(self, module: str, code: CodeType) -> None:
        self._module = module
        self._code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=self._code.co_filename)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._code.co_filename
        exec(self._code, module.__dict__)  # noqa: S102 - that is what a mutant is for
