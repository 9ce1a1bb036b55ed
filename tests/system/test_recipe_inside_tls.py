"""docs/recipes/inside-tls.md with real programs: ssh, curl and openssl in front; haproxy, nginx and sshd behind."""

import getpass
import re

import pytest
from harness import IS_ROOT, SOURCE, free_port
from servers import NGINX, Server, have, output_of

RECIPE = (SOURCE / "docs/recipes/inside-tls.md").read_text()
BLOCKS = dict(re.findall(r"^## ([\w ]+)\n.*?^```\w*\n(.*?)^```", RECIPE, re.M | re.S))
HAPROXY = "/usr/sbin/haproxy"

pytestmark = pytest.mark.skipif(not (have(HAPROXY) and have(NGINX) and have("openssl")), reason="haproxy, nginx and openssl are needed")


class Program(Server):
    def __init__(self, place, name, text, command, *ports):
        (place / name).write_text(text)
        self.launch([*command, str(place / name)], place / f"{name}.log")
        self.wait(*(("127.0.0.1", port) for port in ports))


@pytest.fixture
def recipe(usher, place, certificate, sshd):
    """usher, haproxy and nginx as the recipe has them, with other ports and paths."""
    ports = {number: free_port() for number in ("443", "80", "4433", "4434", "8080", "8081")}
    ports["22"] = sshd.port

    def moved(text):
        text = re.sub(r"\b0\.0\.0\.0:", "127.0.0.1:", text)
        text = re.sub(r'(, )?"\[::\]:\d+"', "", text)
        return re.sub(r"\b127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)

    (place / "tls.pem").write_text(certificate[0].read_text() + certificate[1].read_text())
    user = f"user {getpass.getuser()};" if IS_ROOT else ""
    folders = " ".join(f"{name}_temp_path {place}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    servers = moved(BLOCKS["nginx"]).replace(
        "real_ip_header proxy_protocol;", 'real_ip_header proxy_protocol; return 200 "$remote_addr $host\\n";')
    running = [
        Program(place, "haproxy.cfg", moved(BLOCKS["haproxy"]).replace("/etc/haproxy/tls.pem", str(place / "tls.pem")),
                [HAPROXY, "-db", "-f"], ports["4433"]),
        Program(place, "nginx.conf", f"daemon off; master_process off; {user} pid {place}/pid; error_log {place}/error.log;\n"
                f"events {{ }}\nhttp {{ access_log off; {folders} default_type text/plain;\n{servers} }}",
                [NGINX, "-e", str(place / "error.log"), "-c"], ports["8080"], ports["8081"]),
    ]
    one = usher(moved(BLOCKS["usher"]))
    one.ports["port"] = ports["443"]
    yield one
    for program in running:
        program.end()


def curl(one, address, source):
    return output_of(["curl", "-sSk", "--noproxy", "*", "--interface", source, "-w", "%{redirect_url}", "--connect-to",
                      f"::127.0.0.1:{one.port}", address]).decode()


def test_ssh_goes_inside_tls_and_as_it_is(recipe, sshd, certificate):
    (command,) = re.findall(r"ProxyCommand (.*)", BLOCKS["The client"])
    command = command.replace("%h:443", f"127.0.0.1:{recipe.port}").replace("%h", "one.example") + f" -CAfile {certificate[0]}"
    inside = sshd.ssh(recipe.port, "echo", "inside", options=["-o", f"ProxyCommand={command}"])
    assert (inside.stdout, inside.returncode) == (b"inside\n", 0), inside.stderr
    assert sshd.ssh(recipe.port, "echo", "outside").stdout == b"outside\n"
    assert {(line["service"], line["protocol"]) for line in recipe.wait_connections(3)} == {("tls", "tls"), ("ssh", "ssh")}


def test_a_certificate_that_is_wrong_ends_it_before_ssh_sees_a_byte(recipe, sshd):
    (command,) = re.findall(r"ProxyCommand (.*)", BLOCKS["The client"])
    command = command.replace("%h:443", f"127.0.0.1:{recipe.port}").replace("%h", "one.example")
    assert sshd.ssh(recipe.port, "true", options=["-o", f"ProxyCommand={command}"]).returncode == 255
    recipe.wait_connections(1, service="tls")
    assert recipe.connections(service="ssh") == []


def test_the_web_server_sees_the_address_of_the_client_and_http_is_sent_to_https(recipe):
    assert curl(recipe, "https://one.example/", "127.0.0.9") == "127.0.0.9 one.example\n"
    lines = recipe.wait_connections(2)
    assert {line["client"].rpartition(":")[0] for line in lines} == {"127.0.0.9"}
    assert curl(recipe, "http://one.example/a", "127.0.0.9").endswith("https://one.example/a")
