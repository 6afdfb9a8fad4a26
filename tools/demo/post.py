"""``python -m tools.demo.post URL FILE``: POST a JSON file and print answer and status, where there is no curl.

The demo is local: proxies that the environment names are not used.
"""

import argparse
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tools.command_line import exit_with
from tools.verify.errors import UsageError
from tools.verify.fetch import origin
from tools.verify.inputs import read_file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo.post", description=__doc__)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        origin(arguments.url)
        body = read_file(arguments.file, what="request")
    except UsageError as error:
        sys.stderr.write(f"post: {error}\n")
        return error.exit_code
    request = Request(arguments.url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
    try:
        with build_opener(ProxyHandler({})).open(request) as answer:
            return _show(answer.status, answer.read())
    except HTTPError as error:
        return _show(error.code, error.read())
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"post: no answer from {arguments.url} ({error}): is the demo running?\n")
        return 3


def _show(status: int, body: bytes) -> int:
    sys.stdout.buffer.write(body + f"\nstatus {status}\n".encode())
    return 0


if __name__ == "__main__":
    exit_with(main)
