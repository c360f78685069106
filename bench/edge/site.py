"""What every target of a run shares: the paths, the origin's ports, the key that signs tokens, a certificate."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext, create_default_context

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.issuer import Issuer

STATIC = "/api/v1/static"
STREAMS = "/api/v1/streams"
SMALL = f"{STATIC}/small"
EVENTS = f"{STREAMS}/events"
SINK = f"{STREAMS}/sink"
SMALL_BODY = '{"id":1,"name":"calendar","items":[1,2,3],"text":"one hundred bytes of an answer as from a service"}'


@dataclass(frozen=True, slots=True)
class Site:
    """Two origins: `static_port` answers from memory and files, `streams_port` sends events and swallows bodies."""

    folder: Path
    static_port: int
    streams_port: int
    issuer: Issuer
    certificate: Path
    key: Path

    @property
    def trust(self) -> SSLContext:
        return create_default_context(cafile=str(self.certificate))


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1, signed by itself, and its key; readable by what runs as another account."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private
