"""Errors that end a run, each with its exit code, and the error for malformed data under verification."""


class VerifyError(Exception):
    """The message is one line, printed on standard error."""

    exit_code: int


class UsageError(VerifyError):
    """An input of the verifier (option, key, request, measurements) is unusable."""

    exit_code = 2


class UnreachableError(VerifyError):
    """A URL could not be fetched, or its response is unusable."""

    exit_code = 3


class MalformedError(Exception):
    """Malformed data.

    The message completes the sentence "this is …", or is a sentence about part of an answer.
    """
