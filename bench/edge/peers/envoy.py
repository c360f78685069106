"""Envoy doing what Portico does to each request: RS256 verification and a role check."""

import json
from collections.abc import Mapping

from bench.edge.peers.peer import Peer, Ports
from bench.edge.site import STREAMS, Site

TYPE = "type.googleapis.com/envoy.extensions."
REMEMBERED_TOKENS = 20_000  # as many as Portico remembers; Envoy's default is 100

type Json = Mapping[str, object]


def command(binary: str, site: Site, ports: Ports) -> list[str]:
    config = site.folder / "envoy.json"
    config.write_text(json.dumps(configuration(site, ports)), "utf-8")
    return [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def configuration(site: Site, ports: Ports) -> Json:
    listeners = [_listener(ports.plain, site, None), _listener(ports.tls, site, _tls(site))]
    clusters = [_cluster("static", site.static_port), _cluster("streams", site.streams_port)]
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def _listener(port: int, site: Site, tls: Json | None) -> Json:
    manager = {
        "@type": f"{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "use_remote_address": True,
        "http_filters": [_jwt(site.issuer.jwks), _roles(), _filter("router", "router.v3.Router", {})],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": _routes()}]},
    }
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"address": _address(port), "filter_chains": [{**chain, **(tls or {})}]}


def _filter(name: str, kind: str, settings: Json) -> Json:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{TYPE}filters.http.{kind}", **settings}}


def _jwt(jwks: str) -> Json:
    provider = {
        "local_jwks": {"inline_string": jwks},
        "payload_in_metadata": "jwt",
        "forward": True,
        "jwt_cache_config": {"jwt_cache_size": REMEMBERED_TOKENS},
    }
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}]
    return _filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", {"providers": {"issuer": provider}, "rules": rules})


def _roles() -> Json:
    role = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "jwt"}, {"key": "role"}],
        "value": {"string_match": {"safe_regex": {"regex": "admin|manager|user"}}},
    }
    policy = {"permissions": [{"any": True}], "principals": [{"metadata": role}]}
    return _filter("rbac", "rbac.v3.RBAC", {"rules": {"action": "ALLOW", "policies": {"common": policy}}})


def _routes() -> list[Json]:
    """No deadline over a whole exchange: a gigabyte may take longer than Envoy's fifteen seconds."""
    return [
        {"match": {"prefix": STREAMS}, "route": {"cluster": "streams", "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "static", "timeout": "0s"}},
    ]


def _cluster(name: str, port: int) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _tls(site: Site) -> Json:
    files = {"certificate_chain": {"filename": str(site.certificate)}, "private_key": {"filename": str(site.key)}}
    context = {
        "@type": f"{TYPE}transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [files]},
    }
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


PEER = Peer("envoy", "RS256 verification, role check", command)
