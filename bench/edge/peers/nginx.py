"""nginx as a plain proxy: the floor of what forwarding costs. Also the origin of the answers that do not stream."""

from pathlib import Path

from bench.edge.peers.peer import Peer, Ports
from bench.edge.site import SMALL, SMALL_BODY, STREAMS, Site

SITE_FOLDER = "site"
SIZES = {"100kb": 100_000, "1mb": 1_000_000}
GIGABYTE = "1gb"
PIECE_BYTES = 1024 * 1024


def command(binary: str, site: Site, ports: Ports) -> list[str]:
    return _command(binary, site.folder, "nginx", proxy(site, ports))


def origin_command(binary: str, folder: Path, port: int) -> list[str]:
    return _command(binary, folder, "static", origin(folder, port))


def write_site(folder: Path, gigabyte_bytes: int) -> None:
    """Write the files that the origin serves; the largest is all zeros and takes no room on the disk."""
    static = folder / SITE_FOLDER / SMALL.rpartition("/")[0].lstrip("/")
    static.mkdir(parents=True)
    for name, size_bytes in SIZES.items():
        (static / name).write_bytes(b"x" * size_bytes)
    with (static / GIGABYTE).open("wb") as sparse:
        sparse.truncate(gigabyte_bytes)
    with (static / GIGABYTE).open("rb") as sparse:  # its pages are made now, and not while the first target is measured
        while sparse.read(PIECE_BYTES):
            pass


def origin(folder: Path, port: int) -> str:
    return f"""
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        default_type application/json;
        root {folder}/{SITE_FOLDER};
        location = {SMALL} {{ return 200 '{SMALL_BODY}'; }}
    }}
"""


def proxy(site: Site, ports: Ports) -> str:
    """Bodies pass unbuffered in both directions, as they do in Portico: nothing is spooled to disk."""
    return f"""
    upstream static {{ server 127.0.0.1:{site.static_port}; keepalive 1024; keepalive_requests 1000000000; }}
    upstream streams {{ server 127.0.0.1:{site.streams_port}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{ports.plain} backlog=2048;
        listen 127.0.0.1:{ports.tls} ssl backlog=2048;
        ssl_certificate {site.certificate};
        ssl_certificate_key {site.key};
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        location / {{ proxy_pass http://static; }}
        location {STREAMS} {{ proxy_pass http://streams; }}
    }}
"""


def _command(binary: str, folder: Path, name: str, servers: str) -> list[str]:
    config = folder / f"{name}.conf"
    config.write_text(configuration(folder, name, servers), "utf-8")
    return [binary, "-p", str(folder), "-e", f"{name}.log", "-c", str(config)]


def configuration(folder: Path, name: str, servers: str) -> str:
    """One worker, no access log, connections kept; every path is in the folder, so that no privilege is needed."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {folder}/{name}-{kind};" for kind in kinds)
    return f"""daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
{temporary}
{servers}
}}
"""


PEER = Peer("nginx", "plain proxying", command)
