"""What can go wrong around a verdict: inputs that stop the run, each with its exit code, and a malformed subject."""


class VerifyError(Exception):
    """The message is one line for the person at the terminal."""

    exit_code: int


class UsageError(VerifyError):
    """The verifier's own inputs (options, key, request, measurements) cannot be used."""

    exit_code = 2


class UnreachableError(VerifyError):
    """A URL that the verification needs did not answer, or not with what was asked for."""

    exit_code = 3


class MalformedError(Exception):
    """Bytes that are not what they should be.

    The message completes the sentence "this is …", or is one about a part of an answer.
    """
