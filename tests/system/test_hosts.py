"""Servers told apart by the host that a client names in its first bytes, whatever its protocol."""

import json
import subprocess

import pytest
from harness import BINARY, ENVIRONMENT, slow

CONFIG = """
listen = "127.0.0.1:9";
services = (
  { name = "any-host"; match = { host = "a.example"; }; connect = "127.0.0.1:1"; },
  { name = "phones"; match = { protocol = "sip"; host = "a.example"; }; connect = "127.0.0.1:2"; },
  { name = "cameras"; match = { protocol = "rtsp"; host = "*.example"; }; connect = "127.0.0.1:3"; },
  { name = "sources"; match = { protocol = "git"; host = "a.example"; }; connect = "127.0.0.1:4"; },
  { name = "lobby"; match = { protocol = "minecraft"; host = [ "a.example", "[2001:db8::1]" ]; }; connect = "127.0.0.1:5"; },
  { name = "rest"; match = "any"; connect = "127.0.0.1:6"; } );
"""


def number(value):
    """As Minecraft writes it."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + number(rest) if rest else bytes([low])


def handshake(host):
    body = number(0) + number(765) + number(len(host)) + host + b"\x63\xdd" + number(2)
    return number(len(body)) + body


def pkt_line(text):
    return b"%04x%s" % (4 + len(text), text)


def service_of(place, data):
    (place / "usher.conf").write_text(CONFIG)
    result = subprocess.run([BINARY, "explain", "--json", "-c", place / "usher.conf", "-"], input=data, capture_output=True,
                            check=True, timeout=slow(60), env=ENVIRONMENT)
    return json.loads(result.stdout)["service"]


WITH_HOST = {
    "http": (b"GET / HTTP/1.1\r\nHost: A.example\r\n\r\n", "any-host"),
    "xmpp": (b"<stream:stream to='a.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "any-host"),
    "sip": (b"INVITE sip:bob@a.example:5060;lr SIP/2.0\r\n\r\n", "phones"),
    "sip of another": (b"INVITE sip:bob@b.example SIP/2.0\r\n\r\n", "rest"),
    "rtsp": (b"DESCRIBE rtsp://u:p@cam.example/live RTSP/1.0\r\n\r\n", "cameras"),
    "git": (pkt_line(b"git-upload-pack /x.git\0host=a.example:9418\0"), "sources"),
    "git of another": (pkt_line(b"git-upload-pack /x.git\0host=b.example\0"), "rest"),
    "minecraft": (handshake(b"A.example."), "lobby"),
    "minecraft with mods": (handshake(b"a.example\0FML2\0"), "lobby"),
    "minecraft behind a proxy": (handshake(b"a.example\0" + b"203.0.113.9\0" + b"a" * 32 + b"\0[" + b"x" * 1500 + b"]"), "lobby"),
    "minecraft by IPv6": (handshake(b"2001:db8::1"), "lobby"),
    "minecraft of another": (handshake(b"b.example"), "rest"),
}


@pytest.mark.parametrize("client", WITH_HOST)
def test_each_protocol_that_names_a_host_is_told_by_it(place, client):
    data, service = WITH_HOST[client]
    assert service_of(place, data) == service


ODD = {
    "a name that is not ASCII": b"Host: a.example\r\nX-Gr\xc3\xbcn: 1\r\n",
    "a line without a colon": b"Host: a.example\r\nnonsense\r\n",
    "an odd line first": b"X Y: 1\r\nHost: a.example\r\n",
    "a field past what is looked at": b"Host: a.example\r\nCookie: " + b"x" * 34000 + b"\r\n",
}


@pytest.mark.parametrize("fields", ODD)
def test_a_host_that_is_not_in_doubt_holds_whatever_else_the_fields_are(place, fields):
    assert service_of(place, b"GET / HTTP/1.1\r\n" + ODD[fields] + b"\r\n") == "any-host"


def test_a_host_in_doubt_is_none(place):
    for fields in b"Host: a.example\r\nHost: b.example\r\n", b"Host: a.example\r\nX: y\rHost: b\r\n", b"Host: a.example\r\nHost : b\r\n":
        assert service_of(place, b"GET / HTTP/1.1\r\n" + fields + b"\r\n") == "rest"
