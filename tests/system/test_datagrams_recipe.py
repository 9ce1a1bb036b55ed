"""The configurations of docs/recipes/udp-443.md with real programs, as they stand there but for addresses and ports."""

import base64
import hashlib
import re
import subprocess

import pytest
from harness import NEVER, SOURCE, free_port, slow, wait_for_server, wait_until
from test_datagrams_servers import NO_NAMES, Site, get, needs, udp_is_bound

PLAIN, MOVING = (text for text in re.findall(r"^```conf\n(.*?)^```", (SOURCE / "docs/recipes/udp-443.md").read_text(), re.M | re.S)
                 if '"udp:0.0.0.0:443"' in text)
ELSEWHERE = {'"0.0.0.0:443"': '"127.0.0.1:{port}"', '"[::]:443"': '"[::1]:{port}"', '"udp:0.0.0.0:443"': '"udp:127.0.0.1:{port}"',
             '"udp:[::]:443"': '"udp:[::1]:{port}"', "/run/usher/control.sock": "{dir}/control", "127.0.0.1:22": "127.0.0.1:{ssh}",
             "127.0.0.1:1194": "127.0.0.1:{vpn}", "127.0.0.1:8444": "127.0.0.1:{wiki}", "127.0.0.1:8443": "127.0.0.1:{web}"}

as_root = pytest.mark.skipif(NO_NAMES is not None, reason=NO_NAMES or "-")


def elsewhere(text):
    for here, there in ELSEWHERE.items():
        text = text.replace(here, there)
    assert ":443" not in text
    return text + f"drain_timeout = 0.1; idle_timeout = {NEVER};\n"


class BothSite(Site):
    """The same file by HTTP/3 and by https, on one port number."""

    def __init__(self, start, place, certificate, name, size=100000):
        super().__init__(start, place, certificate, name, size)
        start("openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", certificate[0], "-key", certificate[1], "-WWW",
              "-quiet", cwd=self.folder)
        wait_for_server(("127.0.0.1", self.port))


def get_by_https(name, port):
    done = subprocess.run(["curl", "-sSk", "--noproxy", "*", "--connect-to", f"::127.0.0.1:{port}", f"https://{name}/file"],
                          check=True, capture_output=True, timeout=slow(30))
    return done.stdout


@as_root
@needs("gtlsserver", "gtlsclient", "openvpn", "openssl", "curl")
def test_ssh_the_web_and_openvpn_share_443_of_tcp_and_udp(usher, start, place, certificate, sshd):
    wiki, web = (BothSite(start, place, certificate, name) for name in ("wiki", "web"))
    vpn = free_port()
    common = ["openvpn", "--dev", "null", "--ca", certificate[0], "--cert", certificate[0], "--key", certificate[1], "--ifconfig-noexec",
              "--verb", "3", "--proto", "udp"]
    start(*common, "--local", "127.0.0.1", "--lport", vpn, "--tls-server", "--dh", "none")
    wait_until(lambda: udp_is_bound(vpn), what="openvpn's server")
    one = usher(elsewhere(PLAIN), ssh=sshd.port, vpn=vpn, wiki=wiki.port, web=web.port)
    for name, site in (("wiki.example", wiki), ("de.wiki.example", wiki), ("www.example", web)):
        assert get(place, name, one.port) == site.file
        assert get_by_https(name, one.port) == site.file
    assert sshd.ssh(one.port, "echo", "hello").stdout == b"hello\n"
    tunnel = start(*common, "--remote", "127.0.0.1", one.port, "--nobind", "--tls-client")
    wait_until(lambda: tunnel.said("Peer Connection Initiated"), 20, "the tunnel")
    flows = {(session["service"], session["protocol"]) for session in one.ask(b"sessions") if "datagrams_up" in session}
    assert flows == {("wiki", "quic"), ("web", "quic"), ("vpn", "openvpn")}
    one.stop()
    assert {(line["service"], line["protocol"]) for line in one.connections() if "datagrams_up" not in line} == {
        ("wiki", "tls"), ("web", "tls"), ("ssh", "ssh")}


@as_root
@needs("gtlsserver", "gtlsclient")
def test_a_client_of_quic_whose_port_changes_stays_with_the_site_that_gets_what_is_unknown(usher, start, place, certificate):
    wiki, web = (Site(start, place, certificate, name, 10 << 20) for name in ("wiki", "web"))
    one = usher(elsewhere(MOVING), wiki=wiki.port, web=web.port)
    assert get(place, "www.example", one.port, "--change-local-addr=1ms") == web.file
    one.stop()
    first, *later = [(line["service"], line.get("protocol")) for line in one.connections()]
    assert first == ("web", "quic")
    assert later and set(later) == {("web", None)}


@needs("chromium", "gtlsserver")
def test_chromium_gets_a_page_of_each_name_by_http3(usher, start, place, certificate):
    sites = {"wiki.example": Site(start, place, certificate, "wiki", 10), "www.example": Site(start, place, certificate, "web", 10)}
    for name, site in sites.items():
        (site.folder / "page.html").write_text(f"<title>{name}</title>")
    one = usher(elsewhere(PLAIN), ssh=1, vpn=1, wiki=sites["wiki.example"].port, web=sites["www.example"].port)
    public = subprocess.run(f"openssl x509 -in {certificate[0]} -pubkey -noout | openssl pkey -pubin -outform der", shell=True, check=True,
                            capture_output=True).stdout
    for name in sites:
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--user-data-dir={place}/profile",
             f"--origin-to-force-quic-on={name}:{one.port}", f"--host-resolver-rules=MAP {name} 127.0.0.1", "--dump-dom",
             "--ignore-certificate-errors-spki-list=" + base64.b64encode(hashlib.sha256(public).digest()).decode(),
             f"https://{name}:{one.port}/page.html"], capture_output=True, text=True, timeout=slow(120), check=False)
        assert f"<title>{name}</title>" in done.stdout, done.stderr[-3000:]
    assert {(session["service"], session["protocol"]) for session in one.ask(b"sessions") if "client" in session} == {
        ("wiki", "quic"), ("web", "quic")}
