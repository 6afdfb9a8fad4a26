"""Generated documentation pages are up to date."""

from pathlib import Path

from tools.lifecycle import page

DOCS = Path(__file__).parent.parent / "docs"


def test_lifecycle_page() -> None:
    assert (DOCS / "lifecycle.md").read_text(encoding="utf-8") == page()
