"""TLS to an upstream: who is trusted with a request."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.upstreams.transport import read_body
from tests.upstreams.scripted_server import ScriptedServer, http
from tests.upstreams.transport_calls import opened, refused, send


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def test_a_self_signed_upstream_gets_no_request(tls: ssl.SSLContext) -> None:
    async with ScriptedServer([http(200)], tls) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert (error.status, error.code) == (502, "upstream_unreachable")
    assert server.requests == []


async def test_a_trusted_upstream_does(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with ScriptedServer([http(200)], tls) as server, opened(server.url, tls=trusting) as transport:
        assert await read_body(await send(transport)) == b"{}"


async def test_a_certificate_for_another_name_is_refused(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with ScriptedServer([http(200)], tls) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with opened(url, tls=trusting) as transport:
            assert (await refused(transport)).code == "upstream_unreachable"
    assert server.requests == []
