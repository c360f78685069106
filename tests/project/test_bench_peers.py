"""The configurations that the benchmark of the edge writes for Portico and for those it is compared with."""

import json
import ssl
from pathlib import Path

import pytest

from app.settings import read_settings
from bench.edge.peers import caddy, envoy, haproxy, nginx
from bench.edge.peers.peer import Peer, Ports
from bench.edge.portico import rows
from bench.edge.scenarios import ALL
from bench.edge.site import EVENTS, SMALL_BODY, STATIC, Site, write_certificate
from bench.issuer import Issuer

PORTS = Ports(plain=4001, tls=4002)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer.generate()


@pytest.fixture
def site(tmp_path: Path, issuer: Issuer) -> Site:
    return Site(tmp_path, 4003, 4004, issuer, *write_certificate(tmp_path))


def test_the_small_answer_is_json_of_a_hundred_bytes() -> None:
    assert len(SMALL_BODY) == 100
    assert json.loads(SMALL_BODY)["name"] == "calendar"


def test_the_gateways_table_can_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_PUBLIC_KEY", site.issuer.public_pem)
    monkeypatch.delenv("JWT_JWKS_URL", raising=False)
    config = site.folder / "gateway.toml"
    config.write_text(rows(site), "utf-8")

    gateway = read_settings(config).gateway

    guarded = {row.prefix: gateway.upstreams[row.upstream].url for row in gateway.routes if row.upstream}
    assert guarded == {STATIC: "http://127.0.0.1:4003", EVENTS.rpartition("/")[0]: "http://127.0.0.1:4004"}
    assert all(row.access == "COMMON" for row in gateway.routes if row.upstream)


@pytest.mark.parametrize("peer", [nginx.PEER, envoy.PEER, haproxy.PEER, caddy.PEER], ids=lambda peer: peer.name)
def test_a_peer_listens_twice_and_knows_both_origins(peer: Peer, site: Site) -> None:
    command = peer.command("/usr/bin/peer", site, PORTS)

    written = next(Path(part) for part in command if part.startswith(str(site.folder)) and Path(part).is_file())
    config = written.read_text("utf-8")
    assert command.count("/usr/bin/peer") == 1
    assert [port for port in ("4001", "4002", "4003", "4004") if port not in config] == []


def test_envoy_checks_token_and_role_before_it_forwards(site: Site) -> None:
    config = json.loads(json.dumps(envoy.configuration(site, PORTS)))

    for listener in config["static_resources"]["listeners"]:
        (chain,) = listener["filter_chains"]
        (manager,) = chain["filters"]
        names = [one["name"].rpartition(".")[2] for one in manager["typed_config"]["http_filters"]]
        assert names == ["jwt_authn", "rbac", "router"]


def test_the_certificate_is_one_for_loopback(site: Site) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    context.load_cert_chain(site.certificate, site.key)

    assert site.trust.cert_store_stats()["x509"] == 1


def test_the_origins_files_have_the_sizes_that_their_names_say(tmp_path: Path) -> None:
    nginx.write_site(tmp_path, gigabyte_bytes=1_000_000_000)

    sizes = {file.name: file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()}
    assert sizes == {"100kb": 100_000, "1mb": 1_000_000, "1gb": 1_000_000_000}


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in ALL]

    assert len(set(names)) == len(names)
    assert [scenario.name for scenario in ALL if scenario.is_headline] == ["json-32"]
