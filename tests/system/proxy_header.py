"""PROXY headers, made and taken apart by the specification's words and not by usher's code."""

import socket
import struct
from collections import namedtuple

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 1, 2, 3, 4, 5, 0x20

Header = namedtuple("Header", "version command family source destination tlvs length")


def v1(source, destination, kind=None):
    """(host, port) each."""
    kind = kind or ("TCP6" if ":" in source[0] else "TCP4")
    return f"PROXY {kind} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def v2(source=None, destination=None, tlvs=b"", command=1, family=None, checksum=False):
    """(host, port) each, or paths; None: no addresses."""
    if source is None:
        body, family = b"", 0 if family is None else family
    elif isinstance(source, (str, bytes)):
        body, family = b"".join((path.encode() if isinstance(path, str) else path).ljust(108, b"\0")
                                for path in (source, destination)), family or 0x31
    else:
        kind = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
        body = b"".join(socket.inet_pton(kind, host) for host, _ in (source, destination))
        body += struct.pack(">HH", source[1], destination[1])
        family = family or (0x21 if kind == socket.AF_INET6 else 0x11)
    if checksum:
        tlvs += tlv(CRC32C, bytes(4))
    whole = SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(body + tlvs)) + body + tlvs
    if checksum:
        whole = whole[:-4] + struct.pack(">I", crc32c(whole))
    return whole


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def parse(data):
    """The header that the bytes begin with; raises ValueError where there is none whole."""
    if data.startswith(b"PROXY "):
        line, end, _ = data.partition(b"\r\n")
        if not end or len(line) > 105:
            raise ValueError(data[:120])
        words = line.decode("ascii").split(" ")
        if words[1] == "UNKNOWN":
            return Header(1, 1, 0, None, None, {}, len(line) + 2)
        _, kind, host, at, port, at_port = words
        family = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}[kind]
        host, at = (socket.inet_ntop(family, socket.inet_pton(family, text)) for text in (host, at))
        return Header(1, 1, family, (host, int(port)), (at, int(at_port)), {}, len(line) + 2)
    if not data.startswith(SIGNATURE) or len(data) < 16:
        raise ValueError(data[:120])
    command, family, length = struct.unpack(">BBH", data[12:16])
    if command >> 4 != 2 or len(data) < 16 + length:
        raise ValueError(data[:120])
    body = data[16 : 16 + length]
    size = {0: 0, 1: 12, 2: 36, 3: 216}[family >> 4]
    source = destination = None
    if size == 216:
        source, destination = (body[at : at + 108].rstrip(b"\0").decode() for at in (0, 108))
    elif size:
        kind, width = (socket.AF_INET, 4) if size == 12 else (socket.AF_INET6, 16)
        ports = struct.unpack(">HH", body[2 * width : 2 * width + 4])
        source = socket.inet_ntop(kind, body[:width]), ports[0]
        destination = socket.inet_ntop(kind, body[width : 2 * width]), ports[1]
    tlvs, rest = {}, body[size:]
    while rest:
        kind, width = struct.unpack(">BH", rest[:3])
        if len(rest) < 3 + width or kind in tlvs:
            raise ValueError(rest)
        tlvs[kind], rest = rest[3 : 3 + width], rest[3 + width :]
    return Header(2, command & 15, family, source, destination, tlvs, 16 + length)


def take(sock):
    """Reads exactly one header off a socket."""
    data = b""
    while True:
        piece = sock.recv(1)
        if not piece:
            raise EOFError(data)
        data += piece
        try:
            return parse(data)
        except ValueError:
            if len(data) > 20000:
                raise
