"""The one way a build fails on purpose."""


class BuildError(Exception):
    """An input is not to be had, is not what its lock says, or cannot be built; the message names it."""
