"""A byte order mark, which some editors put in front of a text and nobody sees, is skipped in every text file that usher reads."""

import subprocess

import pytest
from harness import BUILD, ENVIRONMENT, run_usher

MARK = b"\xef\xbb\xbf"
SERVICES = 'services = ( { name = "web"; match = "http"; reject = "close"; } );\n'
LISTEN = 'listen = "127.0.0.1:40001";\n'

# Of each format: the file, what reads it, and what is printed where it was read.
FILES = {
    "usher": (LISTEN + SERVICES, ["check", "-c"], "1  web"),
    "sslh": ('listen: ( { host: "127.0.0.1"; port: "40001"; } );\n'
             'protocols: ( { name: "ssh"; host: "127.0.0.1"; port: "22"; } );\n', ["sslh", "--print", "-F"], '"127.0.0.1:22"'),
    "portsplit": ("bind = 127.0.0.1:40001\n[web]\nstring = GET\nconnect = 127.0.0.1:80\n", ["portsplit", "--print"], "127.0.0.1:80"),
    "tcpmux": ('version = "1.0"\nbind_addr = "127.0.0.1"\nlisten_port = 40001\n'
               'proto_identifier: ( {name:"internal";identifier:"internal";priority:1} )\n'
               'internal_identifer: ( {name:"http"} )\nproto_server: ( {proto:"http";server:"/bin/cat"} )\n',
               ["tcpmux", "--print", "-c"], "127.0.0.1:40001"),
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_skipped_in_a_configuration(place, name):
    text, command, printed = FILES[name]
    results = []
    for data in (text.encode(), MARK + text.encode()):
        path = place / "file.conf"
        path.write_bytes(data)
        *words, last = command
        done = run_usher(*words, *([f"{last}{path}"] if last == "-F" else [last, path]))
        results.append((done.returncode, done.stdout, done.stderr))
    assert printed in results[0][1], results[0]
    assert results[1] == results[0]


def test_it_is_skipped_in_included_files_and_lists_of_addresses(place):
    (place / "main.conf").write_bytes(MARK + b'@include "listen.conf"\n@include "services.conf"\n')
    (place / "listen.conf").write_bytes(MARK + LISTEN.encode())
    services = SERVICES.replace("reject", f'allow = "file:{place}/friends"; reject')
    (place / "services.conf").write_bytes(MARK + services.encode())
    (place / "friends").write_bytes(MARK + b"192.0.2.0/24\n2001:db8::/32\n")
    done = run_usher("check", "-c", place / "main.conf")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 entries" in done.stdout


def test_it_is_skipped_in_the_policy_of_usher_access(place):
    policy = place / "access.conf"
    policy.write_bytes(MARK + f'rules = ( {{ protocol = "*"; allow = "file:{place}/friends"; }} );\n'.encode())
    (place / "friends").write_bytes(MARK + b"127.0.0.1\n")
    done = subprocess.run([BUILD / "src/usher-access", "-t", "-c", policy], capture_output=True, text=True, check=False,
                          env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_line_of_an_error_is_still_right(place):
    path = place / "usher.conf"
    path.write_bytes(MARK + (LISTEN + "bogus = 1;\n" + SERVICES).encode())
    done = run_usher("check", "-c", path)
    assert done.returncode == 2 and f"{path}:2: unknown key `bogus'" in done.stderr


@pytest.mark.parametrize("marks", ["\u201c\u201d", "\u00ab\u00bb", "\u2018\u2019"])
def test_typographic_quotation_marks_are_named(place, marks):
    path = place / "usher.conf"
    path.write_text(LISTEN.replace('"', marks[0], 1).replace('"', marks[1]) + SERVICES, encoding="utf-8")
    done = run_usher("check", "-c", path)
    assert done.returncode == 2
    assert f"{path}:1: `{marks[0]}' is a typographic quotation mark, expected `\"'" in done.stderr
