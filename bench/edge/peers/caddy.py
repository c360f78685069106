"""Caddy as a plain proxy on one processor; its standard build knows no JSON Web Token."""

from bench.edge.peers.peer import Peer, Ports
from bench.edge.site import STREAMS, Site


def command(binary: str, site: Site, ports: Ports) -> list[str]:
    config = site.folder / "Caddyfile"
    config.write_text(configuration(site, ports), "utf-8")
    environ = ["GOMAXPROCS=1", f"HOME={site.folder}", f"XDG_DATA_HOME={site.folder}"]
    return ["env", *environ, binary, "run", "--adapter", "caddyfile", "--config", str(config)]


def configuration(site: Site, ports: Ports) -> str:
    proxies = f"reverse_proxy {STREAMS}/* 127.0.0.1:{site.streams_port}\n    reverse_proxy 127.0.0.1:{site.static_port}"
    return f"""{{
    admin off
    auto_https off
    persist_config off
}}
http://127.0.0.1:{ports.plain} {{
    {proxies}
}}
https://127.0.0.1:{ports.tls} {{
    tls {site.certificate} {site.key}
    {proxies}
}}
"""


PEER = Peer("caddy", "plain proxying", command)
