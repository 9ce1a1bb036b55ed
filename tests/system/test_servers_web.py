"""Real HTTP and TLS clients, a real nginx, one port of usher in between."""

import subprocess
import threading

import pytest
from harness import end_process, slow
from servers import NAMES, digest_of_file, digest_of_output, have, make_file, output_of

CURL = ["curl", "-sS", "--max-time", str(int(slow(60)))]


def resolve(port, name):
    return ["--resolve", f"{name}:{port}:127.0.0.1"]


@pytest.fixture
def trusting(certificate):
    return [*CURL, "--cacert", certificate[0]]


# ---- HTTP in the clear


def test_http_1_reaches_the_server_with_its_host(one_port):
    one = one_port()
    page = output_of([*CURL, *resolve(one.port, "some.example"), f"http://some.example:{one.port}/who"])
    assert page == b"plain GET some.example HTTP/1.1\n"
    (line,) = one.wait_connections(1)
    assert line.items() >= {"protocol": "http", "service": "web", "host": "some.example",
                            "delivery": "connect",
                            "end": "finished"}.items()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "PURGE", "X-OWN"])
def test_every_method_is_http(one_port, method, version):
    one = one_port()
    how = ["--head"] if method == "HEAD" else ["-X", method, "-i"]
    page = output_of([*CURL, version, *how, f"http://127.0.0.1:{one.port}/who"])
    assert page.split()[0].startswith(b"HTTP/1.")
    assert one.wait_connections(1)[0]["service"] == "web"


def test_http_2_in_the_clear(one_port):
    one = one_port()
    page = output_of([*CURL, "--http2-prior-knowledge", *resolve(one.port, "some.example"),
                      f"http://some.example:{one.port}/who"])
    assert page == b"h2c GET some.example HTTP/2.0\n"
    assert one.wait_connections(1)[0].items() >= {"protocol": "h2c", "service": "h2c"}.items()


def test_many_requests_on_one_kept_connection(one_port):
    one = one_port()
    page = output_of([*CURL, f"http://127.0.0.1:{one.port}/small?[1-500]"])
    assert page == b"small\n" * 500
    assert len(one.wait_connections(1)) == 1


def test_a_download_of_200_mb_is_whole(one_port, big):
    one = one_port()
    assert digest_of_output([*CURL, f"http://127.0.0.1:{one.port}/big"]) == big[1]
    (line,) = one.wait_connections(1)
    assert int(line["bytes_down"]) > 200_000_000


def test_an_upload_of_50_mb_is_whole(one_port, nginx, place):
    digest = make_file(place / "file", 50_000_000)
    one = one_port()
    output_of([*CURL, "-T", place / "file", f"http://127.0.0.1:{one.port}/up/{place.name}"])
    assert digest_of_file(nginx.www / "up" / place.name) == digest
    (nginx.www / "up" / place.name).unlink()
    assert int(one.wait_connections(1)[0]["bytes_up"]) > 50_000_000


def test_wget_over_http_and_https(one_port, certificate, middle):
    one = one_port()
    wget = ["wget", "-q", "-O", "-", "--tries=1", f"--timeout={int(slow(20))}", "--no-config", "--no-hsts"]
    assert digest_of_output([*wget, f"http://127.0.0.1:{one.port}/middle"]) == middle[1]
    assert digest_of_output([*wget, f"--ca-certificate={certificate[0]}",
                             f"https://localhost:{one.port}/middle"]) == middle[1]
    assert [line["service"] for line in one.wait_connections(2)] == ["web", "one"]


# ---- TLS


@pytest.mark.parametrize("name, server", [
    ("one.example", "one"), ("two.example", "two"), ("a.two.example", "two"), ("localhost", "one"),
])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_server_name_decides_between_two_servers(one_port, trusting, name, server, version):
    assert name in NAMES or name == "a.two.example"
    one = one_port()
    page = output_of([*trusting, f"--tlsv{version}", "--tls-max", version, *resolve(one.port, name),
                      f"https://{name}:{one.port}/who"])
    assert page == f"{server} {name} HTTP/2.0 TLSv{version}\n".encode()
    (line,) = one.wait_connections(1)
    assert line.items() >= {"protocol": "tls", "service": server, "sni": name, "alpn": "h2"}.items()


def test_a_server_name_in_capitals_is_the_same_name(one_port, certificate):
    one = one_port()
    page = output_of(["openssl", "s_client", "-connect", f"127.0.0.1:{one.port}", "-servername",
                      "A.TWO.Example", "-quiet",
                      "-CAfile", certificate[0], "-verify_return_error"], input=b"GET /who HTTP/1.0\r\n\r\n")
    assert b"\r\ntwo " in page
    assert one.wait_connections(1)[0]["service"] == "two"


def test_without_a_server_name_the_plain_tls_service_serves(one_port, trusting):
    one = one_port()
    assert output_of([*trusting, f"https://127.0.0.1:{one.port}/who"]).startswith(b"one ")
    (line,) = one.wait_connections(1)
    assert line["service"] == "one" and "sni" not in line


@pytest.mark.parametrize("option, version", [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")])
def test_both_http_versions_over_tls(one_port, trusting, option, version):
    one = one_port()
    page = output_of([*trusting, option, *resolve(one.port, "two.example"),
                      f"https://two.example:{one.port}/who"])
    assert page.split()[2].decode() == version


def test_a_download_of_200_mb_over_tls_and_http_2_is_whole(one_port, trusting, big):
    one = one_port()
    assert digest_of_output([*trusting, "--http2", *resolve(one.port, "two.example"),
                             f"https://two.example:{one.port}/big"]) == big[1]


def test_an_upload_of_50_mb_over_tls_is_whole(one_port, nginx, trusting, place):
    digest = make_file(place / "file", 50_000_000)
    one = one_port()
    output_of([*trusting, "-T", place / "file", *resolve(one.port, "one.example"),
               f"https://one.example:{one.port}/up/{place.name}"])
    assert digest_of_file(nginx.www / "up" / place.name) == digest
    (nginx.www / "up" / place.name).unlink()


ALPN = """
listen = [ "127.0.0.1:{port}" ];
services = (
  { name = "h2"; match = { protocol = "tls"; alpn = "h2"; }; connect = "127.0.0.1:{two}"; },
  { name = "http1"; match = { protocol = "tls"; alpn = [ "http/1.1", "http/1.0" ]; };
    connect = "127.0.0.1:{one}"; },
  { name = "none"; match = "tls"; connect = "127.0.0.1:{rev}"; } );
"""


def test_the_application_protocol_decides(usher, nginx, s_server, trusting, certificate):
    rev = s_server()
    one = usher(ALPN, one=nginx.https_one, two=nginx.https_two, rev=rev.port)
    where = [*resolve(one.port, "one.example"), f"https://one.example:{one.port}/who"]
    assert output_of([*trusting, "--http2", *where]).startswith(b"two one.example HTTP/2.0")
    assert output_of([*trusting, "--http1.1", *where]).startswith(b"one one.example HTTP/1.1")
    assert output_of([*trusting, "--http1.0", *where]).startswith(b"one one.example HTTP/1.0")
    assert reversed_line(one.port, certificate) == b"olleh\n"
    lines = one.wait_connections(4)
    found = [(line["service"], line.get("alpn")) for line in lines]
    # curl offers HTTP/1.1 for 1.0 too since version 8.
    assert found[2] in (("http1", "http/1.0"), ("http1", "http/1.1"))
    assert [*found[:2], *found[3:]] == [("h2", "h2"), ("http1", "http/1.1"), ("none", None)]


def reversed_line(port, certificate, *options):
    """What `s_server -rev` behind the port makes of "hello"."""
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-CAfile",
                               certificate[0],
                               "-verify_return_error", *options], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    alarm = threading.Timer(slow(20), client.kill)
    alarm.start()
    try:
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        return client.stdout.readline()
    finally:
        alarm.cancel()
        end_process(client)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_speaks_to_openssl(usher, s_server, certificate, version):
    rev = s_server()
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];
        services = ( { name = "rev"; match = { sni = "rev.example"; }; connect = "127.0.0.1:{rev}"; },
                     { name = "cut"; match = "tls"; reject = "reset"; } );
    """, rev=rev.port)
    assert reversed_line(one.port, certificate, version, "-servername", "rev.example") == b"olleh\n"
    assert one.wait_connections(1)[0]["service"] == "rev"


@pytest.mark.skipif(not have("gnutls-cli"), reason="gnutls-cli is not installed")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_gnutls(one_port, certificate, version):
    one = one_port()
    page = output_of(["gnutls-cli", "--logfile=/dev/null", f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}",
                      f"--x509cafile={certificate[0]}", "--sni-hostname=two.example",
                      "--verify-hostname=two.example",
                      "-p", one.port, "127.0.0.1"], input=b"GET /who HTTP/1.0\r\n\r\n")
    assert b"two two.example HTTP/1.0" in page


def test_http_by_its_host(usher, named_echoes):
    """Told by the Host field, through a server that gives back what it gets."""
    shop, rest = named_echoes("shop", "rest")
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];
        services = ( { name = "shop"; match = { protocol = "http";
                       host = [ "shop.example", "*.shop.example" ]; };
                       connect = "{shop}"; },
                     { name = "rest"; match = "http"; connect = "{rest}"; } );
    """, shop=shop.tcp4, rest=rest.tcp4)
    hosts = {"shop.example": "shop", "SHOP.example:8080": "shop", "a.b.shop.example": "shop",
             "xshop.example": "rest",
             "shop.example.org": "rest", "": "rest"}
    for host, service in hosts.items():
        with one.connect() as client:
            client.sendall(f"GET / HTTP/1.1\r\nX-First: 1\r\nHost: {host}\r\n\r\n".encode())
            assert client.makefile("rb").readline().decode() == f"{service}\n", host
