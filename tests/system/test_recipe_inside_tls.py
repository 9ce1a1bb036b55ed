"""docs/recipes/inside-tls.md with real programs: ssh, curl and openssl in front; haproxy, nginx and sshd behind."""

import re

import pytest
from harness import free_port
from recipes import HAPROXY, Program, Recipe, backwards, haproxy, nginx
from servers import NGINX, have, output_of

pytestmark = pytest.mark.skipif(not (have(HAPROXY) and have(NGINX) and have("openssl")), reason="haproxy, nginx and openssl are needed")


@pytest.fixture
def whole(place, certificate):
    """The certificate and its key in one file."""
    (place / "tls.pem").write_text(certificate[0].read_text() + certificate[1].read_text())
    return place / "tls.pem"


@pytest.fixture
def recipe(usher, place, whole, sshd):
    """usher, haproxy and nginx as the recipe has them, with other ports and paths."""
    text = Recipe("inside-tls")
    text.ports[22] = sshd.port
    servers = text.moved("nginx").replace(
        "real_ip_header proxy_protocol;", 'real_ip_header proxy_protocol; return 200 "$remote_addr $host\\n";')
    running = [haproxy(place, text.moved("haproxy", **{"/etc/haproxy/tls.pem": whole}), text.ports[4433]),
               nginx(place, servers, text.ports[8080], text.ports[8081])]
    one = usher(text.moved("usher"))
    one.ports["port"] = text.ports[443]
    yield one
    for program in running:
        program.end()


def proxy_command(one, heading, number, name, *more):
    (command,) = re.findall(r"ProxyCommand (.*)", Recipe("inside-tls").block(heading, number))
    return " ".join([command.replace("%h:443", f"127.0.0.1:{one.port}").replace("%h", name), *map(str, more)])


def curl(one, address, source):
    return output_of(["curl", "-sSk", "--noproxy", "*", "--interface", source, "-w", "%{redirect_url}", "--connect-to",
                      f"::127.0.0.1:{one.port}", address]).decode()


def test_ssh_goes_inside_tls_and_as_it_is(recipe, sshd, certificate):
    command = proxy_command(recipe, "The client", 0, "one.example", "-CAfile", certificate[0])
    inside = sshd.ssh(recipe.port, "echo", "inside", options=["-o", f"ProxyCommand={command}"])
    assert (inside.stdout, inside.returncode) == (b"inside\n", 0), inside.stderr
    assert sshd.ssh(recipe.port, "echo", "outside").stdout == b"outside\n"
    assert {(line["service"], line["protocol"]) for line in recipe.wait_connections(3)} == {("tls", "tls"), ("ssh", "ssh")}


def test_a_certificate_that_is_wrong_ends_it_before_ssh_sees_a_byte(recipe, sshd):
    command = proxy_command(recipe, "The client", 0, "one.example")
    assert sshd.ssh(recipe.port, "true", options=["-o", f"ProxyCommand={command}"]).returncode == 255
    recipe.wait_connections(1, service="tls")
    assert recipe.connections(service="ssh") == []


def test_the_web_server_sees_the_address_of_the_client_and_http_is_sent_to_https(recipe):
    assert curl(recipe, "https://one.example/", "127.0.0.9") == "127.0.0.9 one.example\n"
    lines = recipe.wait_connections(2)
    assert {line["client"].rpartition(":")[0] for line in lines} == {"127.0.0.9"}
    assert curl(recipe, "http://one.example/a", "127.0.0.9").endswith("https://one.example/a")


ALONE = "ssh alone, by ALPN or by name"


@pytest.mark.skipif(not have("stunnel"), reason="stunnel is needed")
def test_ssh_is_told_by_its_alpn_or_by_its_name_and_stunnel_takes_the_tls_off(usher, place, whole, sshd, certificate, s_server):
    text = Recipe("inside-tls")
    text.ports.update({22: sshd.port, 8443: s_server().port, 4435: free_port()})
    with Program(place, "stunnel.conf", text.moved(ALONE, 1, **{"/etc/stunnel/tls.pem": whole}), ["stunnel", "FILE"], text.ports[4435]):
        one = usher(text.moved(ALONE).replace("shell.example", "one.example"))
        one.ports["port"] = text.ports[443]
        by_alpn = proxy_command(one, ALONE, 2, "one.example", "-CAfile", certificate[0])
        by_name = proxy_command(one, "The client", 0, "one.example", "-CAfile", certificate[0])
        for command in (by_alpn, by_name):
            done = sshd.ssh(one.port, "echo", "inside", options=["-o", f"ProxyCommand={command}"])
            assert (done.stdout, done.returncode) == (b"inside\n", 0), done.stderr
        assert sshd.ssh(one.port, "echo", "plain").stdout == b"plain\n"
        assert backwards(one.port, "two.example") == b"cba\n"
        assert [line["service"] for line in one.wait_connections(4)] == ["ssh-tls", "ssh-tls", "ssh", "web"]
