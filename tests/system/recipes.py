"""The configurations of docs/recipes, as they stand there but for addresses, ports and paths."""

import collections
import getpass
import re
import ssl

from harness import IS_ROOT, SOURCE, connect, free_port, read_exactly
from servers import NGINX, Server

HAPROXY = "/usr/sbin/haproxy"
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)


class Recipe:
    """recipe["heading"] is the first block below that heading, recipe[None] the first of all; .ports[443] is where port 443
    is here, .ports["192.168.1.10:443"] where that other machine is."""

    def __init__(self, name):
        text = (SOURCE / "docs/recipes" / f"{name}.md").read_text()
        _, *parts = re.split(r"^#+ (.*)\n", text, flags=re.M)
        self.blocks = {heading: BLOCK.findall(part) for heading, part in zip(parts[::2], parts[1::2])}
        self.first = BLOCK.search(text)[1]
        self.ports = collections.defaultdict(free_port)

    def block(self, heading=None, number=0):
        return self.first if heading is None else self.blocks[heading][number]

    def moved(self, heading=None, number=0, **paths):
        text = self.block(heading, number)
        text = re.sub(r'(, )?"(udp:)?\[::\]:\d+"', "", text)
        text = text.replace("0.0.0.0:", "127.0.0.1:")
        text = re.sub(r"\b127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{self.ports[int(found[1])]}", text)
        text = re.sub(r"\b192\.168\.\d+\.\d+:\d+", lambda found: f"127.0.0.1:{self.ports[found[0]]}", text)
        for there, here in paths.items():
            text = text.replace(there, str(here))
        return text


class Program(Server):
    """A server with a configuration file, which is FILE in the command; `ports`: where it then accepts."""

    def __init__(self, place, name, text, command, *ports):
        (place / name).write_text(text)
        self.launch([str(word).replace("FILE", str(place / name)) for word in command], place / f"{name}.log")
        self.wait(*(("127.0.0.1", port) for port in ports))


def haproxy(place, text, *ports):
    return Program(place, "haproxy.cfg", text, [HAPROXY, "-db", "-f", "FILE"], *ports)


def nginx(place, text, *ports, certificate=None):
    """Its http servers; for a whole file of it see nginx_file()."""
    folders = " ".join(f"{name}_temp_path {place}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    keys = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};" if certificate else ""
    return nginx_file(place, f"http {{ access_log off; {folders} {keys} default_type text/plain;\n{text} }}", *ports)


def nginx_file(place, text, *ports):
    user = f"user {getpass.getuser()};" if IS_ROOT else ""
    modules = "include /etc/nginx/modules-enabled/*.conf;" if "stream {" in text else ""
    return Program(place, "nginx.conf", f"daemon off; master_process off; {user} pid {place}/pid; error_log {place}/error.log;\n{modules}\n"
                   f"events {{ }}\n{text}", [NGINX, "-e", place / "error.log", "-c", "FILE"], *ports)


def backwards(port, name):
    """What `openssl s_server -rev` behind that port makes of a line."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(port), server_hostname=name) as client:
        client.sendall(b"abc\n")
        return read_exactly(client, 4)
