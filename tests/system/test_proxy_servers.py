"""PROXY headers with those who made them common: HAProxy on both sides, nginx on both sides, Apache behind, curl in front;
and the configuration that shows them."""

import getpass
import os
import re

import proxy_header
import pytest
from harness import IS_ROOT, SOURCE, connect, free_port, read_all, read_exactly, slow, wait_until
from peers import Backend, client_hello
from servers import NGINX, Server, have, output_of

CURL = ["curl", "-sS", "--max-time", str(int(slow(30)))]
APACHE, HAPROXY = "/usr/sbin/apache2", "/usr/sbin/haproxy"
STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

CLIENT, LOCAL = ("192.0.2.7", 52044), ("198.51.100.1", 443)


class Process(Server):
    """A server of one test, with its configuration in a file."""

    def __init__(self, place, name, command, config, *addresses):
        file = place / f"{name}.conf"
        file.write_text(config)
        self.launch([*command, str(file)], place / f"{name}.log")
        self.wait(*addresses)

    @property
    def output(self):
        return self.log_path.read_text(errors="replace")


@pytest.fixture
def server(place):
    running = []

    def start(name, command, config, *addresses):
        running.append(Process(place, name, command, config, *addresses))
        return running[-1]

    yield start
    for one in reversed(running):
        one.end()


NGINX_HEAD = """
daemon off; master_process off; {user} pid {place}/nginx.pid; error_log {place}/error.log info;
{more}
events {{ worker_connections 512; }}
"""

WHO = '"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port $remote_addr $scheme\\n"'

NGINX_HTTP = """
http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
	uwsgi_temp_path {place}/u; scgi_temp_path {place}/s; ssl_certificate {certificate}; ssl_certificate_key {key};
	set_real_ip_from 127.0.0.1; set_real_ip_from ::1; set_real_ip_from unix:; real_ip_header proxy_protocol;
	server {{ listen 127.0.0.1:{http} proxy_protocol; listen [::1]:{http} proxy_protocol; listen unix:{place}/http.sock proxy_protocol;
		location / {{ return 200 {who}; }} }}
	server {{ listen 127.0.0.1:{https} ssl http2 proxy_protocol; location / {{ return 200 {who}; }} }} }}
"""


@pytest.fixture
def nginx_behind(server, place, certificate):
    """nginx that demands PROXY headers and answers with what they said: (HTTP port, HTTPS port)."""
    user = f"user {getpass.getuser()};" if IS_ROOT else ""
    http, https = free_port(), free_port()
    config = (NGINX_HEAD + NGINX_HTTP).format(place=place, user=user, more="", certificate=certificate[0], key=certificate[1],
                                              http=http, https=https, who=WHO)
    server("nginx", [NGINX, "-p", str(place), "-e", str(place / "error.log"), "-c"], config, ("127.0.0.1", https),
           ("::1", http), place / "http.sock")
    (place / "http.sock").chmod(0o777)
    return http, https


BEHIND = """
listen = [ "127.0.0.1:{port}", "[::1]:{port}" ];
services = ( { name = "web"; match = "http"; connect = "{http}"; send_proxy = {version}; },
             { name = "secure"; match = "tls"; connect = "127.0.0.1:{https}"; send_proxy = {version}; } );
"""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("backend", ["127.0.0.1:{http}", "[::1]:{http}", "unix:{place}/http.sock"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_nginx_is_told(usher, nginx_behind, place, host, backend, version):
    """IPv4 clients of an IPv6 server, and the other way round, and both of one on a UNIX socket."""
    one = usher(BEHIND, http=backend.format(http=nginx_behind[0], place=place), https=nginx_behind[1], version=version)
    page = output_of([*CURL, "--interface", host.strip("[]"), "-w", "%{local_port}\n", f"http://{host}:{one.port}/"]).decode()
    answer, local_port = page.split("\n")[:2]
    plain = host.strip("[]")
    assert answer == f"{plain} {local_port} {plain} {one.port} {plain} http"
    assert one.wait_connections(1)[0]["end"] == "finished"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_nginx_is_told_before_tls(usher, nginx_behind, http, version):
    one = usher(BEHIND, http=f"127.0.0.1:{nginx_behind[0]}", https=nginx_behind[1], version=version)
    for _ in range(5):
        page = output_of([*CURL, "-k", http, f"https://127.0.0.1:{one.port}/"]).decode()
        assert re.fullmatch(rf"127\.0\.0\.1 \d+ 127\.0\.0\.1 {one.port} 127\.0\.0\.1 https\n", page)


ACCEPTING = """
listen = ( {{ address = "127.0.0.1:{{port}}"; accept_proxy = "127.0.0.1"; }},
           {{ address = "unix:{{dir}}/in.sock"; mode = 0666; accept_proxy = "unix:"; }} );
services = ( {{ name = "web"; match = "http"; connect = "127.0.0.1:{{backend}}"; {more} }},
             {{ name = "ssh"; match = "ssh"; exec = [ {sshd} ]; }} );
"""


def accepting(usher, backend, more="", sshd='"/bin/cat"'):
    return usher(ACCEPTING.format(more=more, sshd=sshd), backend=backend)


def test_curl_in_front(usher, nginx_behind):
    one = accepting(usher, nginx_behind[0], more="send_proxy = 2;")
    page = output_of([*CURL, "--haproxy-protocol", "-w", "%{local_port}\n", f"http://127.0.0.1:{one.ports['port']}/"]).decode()
    answer, local_port = page.split("\n")[:2]
    assert answer == f"127.0.0.1 {local_port} 127.0.0.1 {one.ports['port']} 127.0.0.1 http"
    (line,) = one.wait_connections(1)
    assert line["client"] == line["via"] == f"127.0.0.1:{local_port}"


@pytest.mark.skipif(not os.path.exists(STREAM), reason="nginx has no stream module: apt-get install libnginx-mod-stream")
def test_nginx_in_front_and_behind(usher, server, place, nginx_behind):
    """nginx' stream proxy tells usher, which tells nginx' web server: by TCP and by a UNIX socket."""
    one = accepting(usher, nginx_behind[0], more="send_proxy = 1;")
    front4, front6 = free_port(), free_port()
    config = NGINX_HEAD.format(place=place, user=f"user {getpass.getuser()};" if IS_ROOT else "",
                               more=f"load_module {STREAM};").replace("nginx.pid", "front.pid") + f"""
        stream {{ server {{ listen 127.0.0.1:{front4}; proxy_pass 127.0.0.1:{one.ports["port"]}; proxy_protocol on; }}
                  server {{ listen [::1]:{front6}; proxy_pass unix:{one.dir}/in.sock; proxy_protocol on; }} }}"""
    server("front", [NGINX, "-p", str(place), "-e", str(place / "front-error.log"), "-c"], config, ("127.0.0.1", front4),
           ("::1", front6))
    for host, port in (("127.0.0.1", front4), ("::1", front6)):
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        answer, local_port = output_of([*CURL, "-w", "%{local_port}\n", url]).decode().split("\n")[:2]
        assert answer == f"{host} {local_port} {host} {port} {host} http"
    clients = {line["client"].rsplit(":", 1)[0]: line["via"] for line in one.wait_connections(2, service="web")}
    assert clients["[::1]"] == "unix:" and clients["127.0.0.1"].startswith("127.0.0.1:")


# ---- HAProxy


HAPROXY_CONFIG = """
global
	stats socket {place}/stats.sock mode 600 level admin
defaults
	timeout connect 5s
	timeout client 30s
	timeout server 30s
{sections}
"""

needs_haproxy = pytest.mark.skipif(not have(HAPROXY), reason="haproxy is not installed")


def haproxy(server, place, sections, *addresses):
    return server("haproxy", [HAPROXY, "-db", "-f"], HAPROXY_CONFIG.format(place=place, sections=sections), *addresses)


@needs_haproxy
@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_behind(usher, server, place, version):
    """It is told the client, the host and the id of the connection."""
    port = free_port()
    haproxy(server, place, f"""
frontend back
	mode http
	bind 127.0.0.1:{port} accept-proxy
	http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]\\n"
""", ("127.0.0.1", port))
    one = usher(BEHIND, http=f"127.0.0.1:{port}", https=1, version=version)
    page = output_of([*CURL, "-w", "%{local_port}\n", "-H", "Host: web.example", f"http://127.0.0.1:{one.port}/"]).decode()
    answer, local_port = page.split("\n")[:2]
    (line,) = one.wait_connections(1)
    told = f" web.example {line['id']}" if version == 2 else ""
    assert answer.rstrip().removesuffix(" -  -") == f"127.0.0.1 {local_port} 127.0.0.1 {one.port}{told}"


@needs_haproxy
@pytest.mark.parametrize("how, version", [("send-proxy", 1), ("send-proxy-v2", 2),
                                          ("send-proxy-v2 proxy-v2-options crc32c,unique-id", 2)])
@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_haproxy_in_front(usher, server, place, how, version, where):
    """Its checksum is right, and its unique id goes on to the backend in place of usher's."""
    front = free_port()
    with Backend() as backend:
        one = accepting(usher, backend.port, more="send_proxy = 2;")
        target = f"127.0.0.1:{one.ports['port']}" if where == "tcp" else f"unix@{one.dir}/in.sock"
        haproxy(server, place, f"""
listen front
	mode tcp
	bind 127.0.0.1:{front}
	unique-id-format haproxy-%pid-%ci:%cp
	server usher {target} {how}
""", ("127.0.0.1", front))
        with connect(front) as client:
            name = client.getsockname()
            client.sendall(b"GET / HTTP/1.0\r\nHost: web.example\r\n\r\n")
            with backend.accept() as taken:
                header = proxy_header.take(taken)
                assert read_exactly(taken, 14) == b"GET / HTTP/1.0"
    assert (header.source, header.destination) == (name, ("127.0.0.1", front))
    assert header.tlvs[proxy_header.AUTHORITY] == b"web.example" and proxy_header.CRC32C not in header.tlvs
    (line,) = one.wait_connections(1, service="web")
    assert line["client"] == f"127.0.0.1:{name[1]}"
    unique = header.tlvs[proxy_header.UNIQUE_ID]
    if "unique-id" in how:
        assert re.fullmatch(rb"haproxy-\d+-127\.0\.0\.1:%d" % name[1], unique)
    else:
        assert unique == line["id"].encode()


@needs_haproxy
@pytest.mark.parametrize("how", ["check send-proxy-v2 check-send-proxy", "check send-proxy check-send-proxy"])
def test_haproxy_checks_the_health_of_usher(usher, server, place, how):
    """Version 2 does it with LOCAL, version 1 with its own addresses: neither is a fault."""
    front = free_port()
    with Backend() as backend:
        one = accepting(usher, backend.port)
        haproxy(server, place, f"""
listen front
	mode tcp
	bind 127.0.0.1:{front}
	server usher 127.0.0.1:{one.ports['port']} {how} inter 100ms fall 1 rise 1
""")
        lines = one.wait_connections(5, timeout=10)
    assert {line["end"] for line in lines} <= {"client-gone", "client-reset"}
    assert {line["client"].split(":")[0] for line in lines} == {"127.0.0.1"}
    with connect(place / "stats.sock") as stats:
        stats.sendall(b"show stat\n")
        status = read_all(stats).decode()
    assert re.search(r"^front,usher,(.*,)?UP,", status, re.M), status


# ---- others


@pytest.mark.skipif(not have(APACHE), reason="Apache is not installed")
@pytest.mark.parametrize("version", [1, 2])
def test_apache_is_told(usher, server, place, version):
    port = free_port()
    (place / "who").mkdir()
    (place / "who/index.html").write_text("there\n")
    place.chmod(0o777)
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
                      for name in ("mpm_event", "authz_core", "dir", "remoteip"))
    user = "User nobody\nGroup nogroup\n" if IS_ROOT else ""
    server("apache", [APACHE, "-DFOREGROUND", "-f"], f"""
{modules}{user}ServerRoot {place}
ServerName back.example
Listen 127.0.0.1:{port}
PidFile {place}/apache.pid
Mutex file:{place}
ErrorLog {place}/apache-error.log
DocumentRoot {place}/who
DirectoryIndex index.html
RemoteIPProxyProtocol On
LogFormat "%a" who
CustomLog {place}/access.log who
""", ("127.0.0.1", port))
    one = usher(BEHIND, http=f"127.0.0.1:{port}", https=1, version=version)
    assert output_of([*CURL, "--interface", "127.3.4.5", f"http://127.0.0.1:{one.port}/"]) == b"there\n"
    wait_until(lambda: "127.3.4.5\n" in (place / "access.log").read_text(), 5, "Apache's log")


def test_ssh_through_two_ushers(usher, sshd):
    """sshd, run by the second one, has the first one's socket; who the client is, the second one's log says."""
    second = accepting(usher, 1, sshd=", ".join(f'"{word}"' for word in sshd.inetd))
    first = usher("""
        listen = "[::1]:{port}";
        services = ( { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{second}"; send_proxy = 2; } );
    """, second=second.ports["port"])
    done = sshd.ssh(first.port, "echo", "hello", host="::1")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    told, = second.wait_connections(1)
    assert told["client"] == first.wait_connections(1)[0]["client"] and told["client"].startswith("[::1]:")
    assert told["via"].startswith("127.0.0.1:")


# ---- the example


def test_the_example_does_what_it_says(usher, place):
    """But for `transparent', whose answers from 127.0.0.1 would need rules of routing (test_transparent has them)."""
    text = (SOURCE / "examples/proxy-protocol.conf").read_text()
    with Backend() as web, Backend() as plain:
        for found, by in ((":7010", ":{port}"), (":7011", ":{port_plain}"), (":7012", ":{port_absent}"), ("/run/usher/", "{dir}/"),
                          ("127.0.0.1:4431", f"127.0.0.1:{web.port}"), ("127.0.0.1:8080", f"127.0.0.1:{plain.port}"),
                          ('connect = "127.0.0.1:22"; transparent = true;', 'exec = [ "/bin/cat" ];')):
            assert text.count(found) >= 1, found
            text = text.replace(found, by)
        comments = re.compile(r"#.*")
        one = usher(comments.sub("", text))
        for header in (proxy_header.v1(CLIENT, LOCAL), proxy_header.v2(CLIENT, LOCAL)):
            with one.connect() as client:
                client.sendall(header + b"SSH-2.0-x\r\n")
                assert read_exactly(client, 11) == b"SSH-2.0-x\r\n"
            with one.connect() as client:
                client.sendall(header + b"GET / HTTP/1.0\r\n\r\n")
                with plain.accept() as server:
                    assert (told := proxy_header.take(server)).source == CLIENT and told.version == 1
            with connect(one.dir / "proxied.sock") as client:
                client.sendall(header + client_hello(sni="web.example"))
                with web.accept() as server:
                    told = proxy_header.take(server)
                    assert (told.version, told.source, told.tlvs[proxy_header.AUTHORITY]) == (2, CLIENT, b"web.example")
        with one.connect() as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert one.wait_connections(1, end="proxy-header")[0]["rule"] == "absent"
        with one.connect(one.ports["port_plain"]) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with plain.accept() as server:
                assert proxy_header.take(server).source == client.getsockname()
