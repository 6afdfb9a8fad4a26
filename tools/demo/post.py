"""``python -m tools.demo.post URL FILE``: POST a JSON file and print answer and status, where there is no curl.

The demo is local: proxies that the environment names are not used.
"""

import argparse
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from tools.command_line import exit_with


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo.post", description=__doc__)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    url, file = arguments.url, arguments.file
    if not url.startswith(("http://", "https://")):
        sys.stderr.write("not an http URL\n")
        return 2
    request = Request(url, file.read_bytes(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        with build_opener(ProxyHandler({})).open(request) as answer:
            return _show(answer.status, answer.read())
    except HTTPError as error:
        return _show(error.code, error.read())
    except URLError as error:
        sys.stderr.write(f"post: cannot connect to {url} ({error.reason}): is the demo running?\n")
        return 3


def _show(status: int, body: bytes) -> int:
    sys.stdout.buffer.write(body + f"\nstatus {status}\n".encode())
    return 0


if __name__ == "__main__":
    exit_with(main)
