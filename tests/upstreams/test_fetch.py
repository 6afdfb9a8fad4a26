"""Fetching callers' files over real TLS sockets: accepted files, and addresses that must not be reached."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from gateway.catalog import bundled
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.fetch import FetchLimits, FileFetcher
from tests.certificates import self_signed
from tests.upstreams.deaf_server import deaf_server
from tests.upstreams.file_server import HOST, FileServer, ScriptedResolver, serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
PDF = b"%PDF-1.7 " + bytes(100)
MODEL = bundled().find("gemini-2.5-flash")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of ``files.example`` and 127.0.0.1 in one PEM file."""
    return self_signed(tmp_path_factory.mktemp("tls"), HOST, "127.0.0.1")[0]


@pytest.fixture
async def server(certificate: Path) -> AsyncIterator[FileServer]:
    async with serving(certificate) as running:
        yield running


MakeFetcher = Callable[..., FileFetcher]


@pytest.fixture
async def fetcher(certificate: Path) -> AsyncIterator[MakeFetcher]:
    """Create fetchers that trust the server's certificate and, by default, its address."""
    tls = ssl.create_default_context(cafile=str(certificate))
    made: list[FileFetcher] = []

    def make(resolver: ScriptedResolver | None = None, allowed: str = "127.0.0.1", **limits: float) -> FileFetcher:
        made.append(
            FileFetcher(
                enabled=True,
                limits=FetchLimits(**limits),  # type: ignore[arg-type]
                allowed=lambda address: address == allowed,
                resolver=resolver or ScriptedResolver({HOST: [["127.0.0.1"]]}),
                tls=tls,
            )
        )
        return made[-1]

    yield make
    for each in made:
        await each.close()


def chat_with(*urls: str) -> Chat:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {
        "model": "gemini-2.5-flash",
        "messages": [
            {"role": "system", "content": "Look."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]},
        ],
    }
    return Chat(body, parse_chat(body), MODEL)


async def refusal(fetcher: FileFetcher, *urls: str) -> GatewayError:
    chat = chat_with(*urls)
    with pytest.raises(GatewayError) as caught:
        await fetcher.attach(chat, urls)
    assert chat.attachments == {}
    assert caught.value.status == 400
    assert caught.value.code == "invalid_image_url"
    assert str(caught.value.param).startswith("messages[1].content[")
    return caught.value


async def test_files_become_attachments_of_their_real_type(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/a", PNG, content_type="text/html")
    server.serve("/b", PDF)
    urls = [server.url("/a"), server.url("/b")]
    chat = chat_with(*urls)
    await fetcher().attach(chat, urls)
    assert chat.attachments == {
        urls[0]: Attachment("image/png", PNG),
        urls[1]: Attachment("application/pdf", PDF),
    }


async def test_nothing_that_identifies_us_is_sent(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/a", PNG, headers={"Set-Cookie": "id=1"})
    server.serve("/b", PNG)
    source = fetcher()
    await source.attach(chat_with(server.url("/a")), [server.url("/a")])
    await source.attach(chat_with(server.url("/b")), [server.url("/b")])
    assert [request.path for request in server.seen] == ["/a", "/b"]
    for request in server.seen:
        assert {"Cookie", "Authorization", "Referer", "Proxy-Authorization"}.isdisjoint(request.headers)
        assert request.headers["Accept-Encoding"] == "identity"


async def test_redirects_are_followed_to_a_limit(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/3", PNG)
    for step in range(3):
        server.redirect(f"/{step}", f"/{step + 1}", status=(301, 302, 307)[step])
    url = server.url("/0")
    chat = chat_with(url)
    await fetcher(redirects=3).attach(chat, [url])
    assert chat.attachments[url].data == PNG
    error = await refusal(fetcher(redirects=2), url)
    assert "redirects" in error.message


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/a.png",
        "ftp://files.example/a.png",
        "file:///etc/passwd",
        "https://user:secret@files.example/a.png",
        "https://user@files.example/a.png",
        "https:///a.png",
        "https://127.0.0.2/a.png",
        "https://[::1]/a.png",
        "https://169.254.169.254/latest/meta-data",
        "not a url",
        "https://files.example:99999/a.png",
    ],
)
async def test_urls_that_are_never_asked(url: str, fetcher: MakeFetcher) -> None:
    resolver = ScriptedResolver({})
    error = await refusal(fetcher(resolver), url)
    assert resolver.asked == []
    assert "secret" not in error.message


async def test_a_host_inside_is_not_reached(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/a", PNG)
    error = await refusal(fetcher(allowed="203.0.113.1"), server.url("/a"))
    assert "public" in error.message
    assert server.seen == []


async def test_one_inner_address_among_several_refuses_the_host(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/a", PNG)
    await refusal(fetcher(ScriptedResolver({HOST: [["127.0.0.1", "10.0.0.1"]]})), server.url("/a"))
    assert server.seen == []


async def test_a_redirect_into_the_inside_is_not_followed(server: FileServer, fetcher: MakeFetcher) -> None:
    resolver = ScriptedResolver({HOST: [["127.0.0.1"]], "inner.example": [["10.0.0.1"]]})
    server.redirect("/name", f"https://inner.example:{server.port}/a")
    server.redirect("/literal", "https://169.254.169.254/latest")
    server.redirect("/plain", f"http://{HOST}:{server.port}/a")
    for path in ("/name", "/literal", "/plain"):
        await refusal(fetcher(resolver), server.url(path))
    assert [request.path for request in server.seen] == ["/name", "/literal", "/plain"]


async def test_the_checked_address_is_the_one_connected_to(server: FileServer, fetcher: MakeFetcher) -> None:
    """A name server whose second answer differs is not queried twice."""
    resolver = ScriptedResolver({HOST: [["127.0.0.1"], ["10.0.0.1"]]})
    server.serve("/a", PNG)
    url = server.url("/a")
    source = fetcher(resolver)
    await source.attach(chat_with(url), [url])
    assert resolver.asked == [HOST]
    await refusal(source, url)
    assert resolver.asked == [HOST, HOST]
    assert len(server.seen) == 1


async def test_silent_name_servers_hold_up_nobody_else(
    server: FileServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as one request can name; a lookup in a thread goes on when nobody waits for it any more."""
    ended = threading.Event()
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host == HOST:
            return real("127.0.0.1", *arguments, **options)
        ended.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    server.serve("/a", PNG)
    source = FileFetcher(True, allowed=bool, tls=ssl.create_default_context(cafile=str(certificate)))
    slow = asyncio.create_task(refusal(source, *(server.url("/a", f"{number}.example") for number in range(16))))
    await asyncio.sleep(0.05)
    chat = chat_with(server.url("/a"))
    try:
        async with asyncio.timeout(5):
            await source.attach(chat, [server.url("/a")])
    finally:
        ended.set()
        await slow
        await source.close()
    assert [each.data for each in chat.attachments.values()] == [PNG]


async def test_the_certificate_must_be_that_of_the_host(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/a", PNG)
    resolver = ScriptedResolver({"files.other": [["127.0.0.1"]]})
    await refusal(fetcher(resolver), server.url("/a", host="files.other"))
    assert server.seen == []


async def test_large_files_are_refused_before_they_are_read(server: FileServer, fetcher: MakeFetcher) -> None:
    server.serve("/a", PNG)
    error = await refusal(fetcher(file_bytes=len(PNG) - 1), server.url("/a"))
    assert "larger" in error.message


async def test_a_file_without_a_length_is_cut_off(server: FileServer, fetcher: MakeFetcher) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 1000:
            await response.write(PNG * 60)
            await asyncio.sleep(0)
            sent += 1
        return response

    server.routes["/a"] = endless
    error = await refusal(fetcher(file_bytes=200_000), server.url("/a"))
    assert "larger" in error.message
    assert sent < 1000


def test_nothing_is_received_of_a_file_that_was_refused(certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def fetch(url: str) -> None:
        resolver = ScriptedResolver({})
        limits = FetchLimits(file_bytes=1000)
        fetcher = FileFetcher(True, limits=limits, allowed=bool, resolver=resolver, tls=trusting)
        error = await refusal(fetcher, url)
        await fetcher.close()
        assert "larger than 1000 bytes" in error.message

    with deaf_server(tls, b"HTTP/1.1 200 OK\r\n\r\n", PNG) as (url, cut):
        uvloop.run(fetch(url))
    assert cut.is_set()


async def test_files_are_limited_together(server: FileServer, fetcher: MakeFetcher) -> None:
    for path in ("/a", "/b"):
        server.serve(path, PNG)
    urls = [server.url("/a"), server.url("/b")]
    assert "exceed their total size limit" in (await refusal(fetcher(chat_bytes=len(PNG) + 1), *urls)).message
    assert (await refusal(fetcher(files=1), *urls)).param == "messages[1].content[2].image_url.url"


async def test_a_file_counts_as_often_as_the_vendor_gets_it(server: FileServer, fetcher: MakeFetcher) -> None:
    """One URL of a large file, repeated ten thousand times, made a request of many gigabytes."""
    server.serve("/a", PNG)
    url, source = server.url("/a"), fetcher(chat_bytes=3 * len(PNG), buffered_bytes=3 * len(PNG))
    assert await source.attach(chat_with(url, url, url), [url]) == 3 * len(PNG)
    with pytest.raises(GatewayError) as caught:
        await source.attach(chat_with(url), [url])
    assert caught.value.status == 503
    source.release(3 * len(PNG))
    with pytest.raises(GatewayError) as caught:
        await source.attach(chat_with(*[url] * 4), [url])
    assert (caught.value.status, caught.value.param) == (400, "messages[1].content[1].image_url.url")
    assert await source.attach(chat_with(url, url, url), [url]) == 3 * len(PNG)


async def test_the_files_of_all_chats_are_limited_together(server: FileServer, fetcher: MakeFetcher) -> None:
    for path in ("/a", "/b"):
        server.serve(path, PNG)
    a, b = server.url("/a"), server.url("/b")
    source = fetcher(buffered_bytes=3 * len(PNG) - 1, file_bytes=len(PNG))
    assert await source.attach(chat_with(a, b), [a, b]) == 2 * len(PNG)
    with pytest.raises(GatewayError) as caught:
        await source.attach(chat_with(a), [a])
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    source.release(2 * len(PNG))
    server.serve("/large", PNG + b"x")
    await refusal(source, a, server.url("/large"))
    assert await source.attach(chat_with(a, b), [a, b]) == 2 * len(PNG)


async def test_a_silent_server_is_given_up(server: FileServer, fetcher: MakeFetcher) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await asyncio.sleep(30)
        return response

    server.routes["/a"] = silent
    error = await refusal(fetcher(timeout=0.2), server.url("/a"))
    assert "time" in error.message


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), (b"", 200), (PNG, 404), (PNG, 500), (PNG, 206)],
    ids=["html", "empty", "missing", "broken", "partial"],
)
async def test_answers_that_are_no_files(server: FileServer, fetcher: MakeFetcher, body: bytes, status: int) -> None:
    server.serve("/a", body, status=status)
    await refusal(fetcher(), server.url("/a"))


async def test_an_unreachable_host_is_the_callers_error(fetcher: MakeFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = await refusal(fetcher(), f"https://{HOST}:{port}/a")
    assert "127.0.0.1" not in error.message


async def test_the_param_is_the_place_of_the_url(fetcher: MakeFetcher) -> None:
    body = {
        "model": "gemini-2.5-flash",
        "messages": [
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "http://files.example/a.pdf"}}]}
        ],
    }
    chat = Chat(body, parse_chat(body), MODEL)
    with pytest.raises(GatewayError) as caught:
        await fetcher().attach(chat, ["http://files.example/a.pdf"])
    assert (caught.value.param, caught.value.code) == ("messages[0].content[0].file.file_data", "invalid_file_url")


async def test_a_gateway_that_does_not_fetch_says_what_to_send() -> None:
    source = FileFetcher(enabled=False)
    error = await refusal(source, "https://files.example/a.png")
    assert "data: URI" in error.message
    chat = chat_with()
    await source.attach(chat, [])
    assert chat.attachments == {}


async def test_more_urls_than_are_fetched_are_not_looked_for(fetcher: MakeFetcher) -> None:
    """A megabyte has room for 16,000 URLs, and looking for each of them takes a walk through all of it."""
    asked = 0

    def urls() -> Iterator[str]:
        nonlocal asked
        for number in range(20_000):
            asked += 1
            yield f"https://pictures.example/{number}"

    with pytest.raises(GatewayError):
        await fetcher().attach(chat_with(), urls())
    assert asked < 100
