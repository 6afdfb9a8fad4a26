"""Errors that end the command, each with an exit code; the message is one line for the terminal."""


class PayError(Exception):
    """Base class. ``exit_code`` is that of the process."""

    exit_code = 1


class NotPaidError(PayError):
    """Nothing was bought: no offer fits, the payer declined, or the payment was refused."""


class UsageError(PayError):
    """The command's own inputs cannot be used."""

    exit_code = 2


class UnreachableError(PayError):
    """The gateway or the RPC endpoint did not answer."""

    exit_code = 3
