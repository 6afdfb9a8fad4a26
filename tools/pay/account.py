"""The key file of a payer, operator or administrator."""

import re
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from tools.verify.errors import UsageError
from tools.verify.inputs import read_file


def read_account(path: Path) -> LocalAccount:
    """The account whose private key is in a file, as 64 hexadecimal digits with or without 0x. Raises UsageError."""
    text = read_file(path, what="key", limit=1024).decode("ascii", "replace").strip()
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", text):
        raise UsageError(f"{path} does not contain a private key: expected 64 hexadecimal digits")
    try:
        account: LocalAccount = Account.from_key(text)
    except ValueError:
        raise UsageError(f"{path} does not contain a private key: the number is not valid for the curve") from None
    return account
