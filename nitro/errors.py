"""The error of the build."""


class BuildError(Exception):
    """An input is unavailable, does not match its lock, or cannot be built; the message names it."""
