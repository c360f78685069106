"""HAProxy with RS256 verification and a role check; it remembers no token, so it verifies each time."""

from bench.edge.peers.peer import Peer, Ports
from bench.edge.site import STREAMS, Site


def command(binary: str, site: Site, ports: Ports) -> list[str]:
    config = site.folder / "haproxy.cfg"
    config.write_text(configuration(site, ports), "utf-8")
    (site.folder / "issuer.pem").write_text(site.issuer.public_pem, "utf-8")
    (site.folder / "haproxy.pem").write_text(site.certificate.read_text("utf-8") + site.key.read_text("utf-8"), "utf-8")
    return [binary, "-db", "-f", str(config)]


def configuration(site: Site, ports: Ports) -> str:
    return f"""global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend edge
    bind 127.0.0.1:{ports.plain}
    bind 127.0.0.1:{ports.tls} ssl crt {site.folder}/haproxy.pem
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request deny status 401 unless {{ var(txn.alg) -m str RS256 }}
    http-request deny status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{site.folder}/issuer.pem") 1 }}
    http-request deny status 403 unless {{ var(txn.bearer),jwt_payload_query('$.role') -m str admin manager user }}
    use_backend streams if {{ path_beg {STREAMS} }}
    default_backend static
backend static
    http-reuse always
    server origin 127.0.0.1:{site.static_port}
backend streams
    http-reuse always
    server origin 127.0.0.1:{site.streams_port}
"""


PEER = Peer("haproxy", "RS256 verification, role check", command)
