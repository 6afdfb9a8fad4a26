"""uv.lock has wheels for each Python that pyproject.toml admits, so that `make demo` needs no compiler."""

import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.tags import compatible_tags, cpython_tags, platform_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parent.parent
LATER_THAN_ANY = 30


def test_what_has_a_wheel_for_the_oldest_python_has_one_for_all() -> None:
    admitted = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    oldest, *later = [minor for minor in range(LATER_THAN_ANY) if f"3.{minor}" in admitted]
    for minor in later:
        assert _with_wheel(oldest) <= _with_wheel(minor), f"3.{minor}"


def _with_wheel(minor: int) -> set[str]:
    """The locked packages that have a wheel for CPython 3.``minor`` on this platform."""
    python, platforms = (3, minor), [*platform_tags()]
    fitting = {*cpython_tags(python, [f"cp3{minor}"], platforms), *compatible_tags(python, f"cp3{minor}", platforms)}
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return {
        package["name"]
        for package in packages
        for wheel in package.get("wheels", ())
        if fitting & parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
    }
