"""The upstream connection over TLS: a FIN alone, which anybody can forge, ends nothing."""

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.edge.upstream_failures import ConnectFailed, UpstreamBroken
from app.edge.upstream_pool import Endpoint, UpstreamPool
from tests.wire.hostile import HI, OK, Visit, answering, answering_then_closing, fail, fetch, hostile, on_both_loops


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context around a certificate made for this test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "upstream.test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    names = [x509.DNSName("upstream.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "upstream.pem"
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


@on_both_loops
async def test_connections_are_kept_over_tls(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)

    async with hostile(answering(HI, HI), tls=server) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port, tls=client, server_name="upstream.test"))

        bodies = [(await fetch(pool))[1] for _ in range(2)]

        assert (bodies, len(upstream.visits)) == ([b"hi", b"hi"], 1)
        await pool.aclose()


@on_both_loops
async def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)

    async with hostile(answering(HI), tls=server) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port, tls=client, server_name="elsewhere.test"))

        failure = await fail(pool)

        assert isinstance(failure, ConnectFailed)
        assert (failure.sent, pool.counts.open) == (False, 0)
        await pool.aclose()


@on_both_loops
async def test_a_body_ended_by_tls_is_complete(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)

    async with hostile(answering_then_closing(OK + b"\r\nhi"), tls=server) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port, tls=client))

        _, body = await fetch(pool)

        assert body == b"hi"
        await pool.aclose()


@on_both_loops
async def test_a_body_ended_by_a_bare_fin_is_cut(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"\r\nhi")
        visit.writer.transport.abort()

    async with hostile(script, tls=server) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port, tls=client))

        failure = await fail(pool)

        assert isinstance(failure, UpstreamBroken)
        await pool.aclose()


@on_both_loops
async def test_a_cancelled_handshake_leaves_nothing(tmp_path: Path) -> None:
    _, client = contexts(tmp_path)

    async def script(visit: Visit) -> None:
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port, tls=client))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.acquire()

        assert pool.counts.open == 0
        await pool.aclose()
