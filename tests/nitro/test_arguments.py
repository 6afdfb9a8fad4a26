"""Options of the build commands."""

import argparse
from pathlib import Path

import pytest

from nitro.arguments import add_inputs, inputs_of
from nitro.inputs import Inputs


def parsed(*words: str) -> Inputs:
    parser = argparse.ArgumentParser()
    add_inputs(parser)
    return inputs_of(parser.parse_args(words))


def test_an_offline_build_takes_its_inputs_from_a_folder_that_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt one would be made, and found empty by the first tool."""
    assert parsed("--offline", str(tmp_path)) == Inputs(tmp_path, offline=True)
    with pytest.raises(SystemExit) as ended:
        parsed("--offline", str(tmp_path / "misspelt"))
    assert ended.value.code == 2
    assert f"{tmp_path}/misspelt is not a directory" in capsys.readouterr().err
