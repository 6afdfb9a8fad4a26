"""Image responses as deltas (facts/providers.md 6.6, 7.4)."""

from collections.abc import Iterable, Iterator

import msgspec

from gateway.openai_api.deltas import Delta, Finish, Image, UpstreamMetadata
from gateway.openai_api.errors import GatewayError, content_policy_violation, upstream_error, upstream_truncated
from gateway.openai_api.usage import Usage
from gateway.upstreams.error_rules import map_error
from gateway.upstreams.images.dialects import ImagesDialect
from gateway.upstreams.images.wire import ImagesResponse, decode
from gateway.upstreams.sse import Event
from gateway.upstreams.vendor_errors import VendorError, parse_embedded


def decode_response(dialect: ImagesDialect, body: bytes) -> Iterator[Delta]:
    """The deltas of a complete response; if the vendor supports ``n``, every image is a choice. Raises GatewayError."""
    response = decode(body)
    if response.error:
        raise map_error(dialect.errors, parse_embedded(msgspec.structs.asdict(response)))
    images = [item.image for item in response.data or ()]
    if not any(images):
        raise _no_image(dialect, response)
    yield UpstreamMetadata(model=response.model)
    for choice, urls in enumerate([[url] for url in images] if dialect.counts else [images]):
        yield from (Image(url, choice) for url in urls if url)
        yield Finish("stop" if any(urls) else "content_filter", choice)
    yield Usage(images=sum(map(bool, images)))


def _no_image(dialect: ImagesDialect, response: ImagesResponse) -> GatewayError:
    """The error of a response with status 200 but no image; the failure's code decides whose fault it is (7.4)."""
    failure = response.failure
    if failure is None and response.moderated:
        return content_policy_violation("The upstream withheld the image because of its moderation policy")
    if failure is None:
        return upstream_error("upstream_bad_response", "The upstream returned no image")
    code = failure.code or ""
    status = 400 if any(word in code for word in ("Sensitive", "RiskDetection", "Invalid")) else 500
    return map_error(dialect.errors, VendorError(status, failure.message or "", code))


class NoStreamDecoder:
    """The decoder of an endpoint that is never requested to stream."""

    def feed(self, event: Event) -> Iterable[Delta]:
        raise upstream_error("upstream_bad_response", "The upstream returned a stream for a request without streaming")

    def finish(self) -> Iterable[Delta]:
        raise upstream_truncated()
