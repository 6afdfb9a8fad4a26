"""``python -m tools.demo.post URL FILE``: POST a JSON file and print answer and status, where there is no curl."""

import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def main() -> int:
    url, file = sys.argv[1:]
    if not url.startswith(("http://", "https://")):
        sys.stderr.write("not an http URL\n")
        return 2
    request = Request(url, Path(file).read_bytes(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urlopen(request) as answer:  # noqa: S310
            return _show(answer.status, answer.read())
    except HTTPError as error:
        return _show(error.code, error.read())


def _show(status: int, body: bytes) -> int:
    sys.stdout.buffer.write(body + f"\nstatus {status}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
