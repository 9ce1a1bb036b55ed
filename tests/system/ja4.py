"""JA4 once more, by its description and not by usher's code: a second opinion for the tests."""

import hashlib


def is_grease(value):
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def numbers(data):
    """Two-byte numbers without GREASE."""
    return [value for value in (int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)) if not is_grease(value)]


def hashed(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "000000000000"


def listed(values):
    return ",".join(f"{value:04x}" for value in values)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        assert self.at <= len(self.data)
        return self.data[self.at - n : self.at]

    def block(self, length_len):
        return self.take(int.from_bytes(self.take(length_len), "big"))


def handshake_of(records):
    """The message that the records begin with."""
    reader, message = Reader(records), b""
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        assert reader.take(1) == b"\x16"
        reader.take(2)
        message += reader.block(2)
    return message


def first_and_last(alpn):
    if not alpn:
        return "00"
    if all(0x30 <= c <= 0x39 or 0x41 <= c <= 0x5A or 0x61 <= c <= 0x7A for c in (alpn[0], alpn[-1])):
        return chr(alpn[0]) + chr(alpn[-1])
    return alpn.hex()[0] + alpn.hex()[-1]


def ja4(records):
    """The fingerprint of a ClientHello in its records."""
    reader = Reader(handshake_of(records))
    assert reader.take(1) == b"\x01"
    reader = Reader(reader.block(3))
    version = int.from_bytes(reader.take(2), "big")
    reader.take(32)
    reader.block(1)
    ciphers = numbers(reader.block(2))
    reader.block(1)
    extensions = Reader(reader.block(2) if reader.at < len(reader.data) else b"")
    types, data = [], {}
    while extensions.at < len(extensions.data):
        kind = int.from_bytes(extensions.take(2), "big")
        data[kind] = extensions.block(2)
        if not is_grease(kind):
            types.append(kind)
    if 43 in data:
        version = max(numbers(data[43][1:]))
    code = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10", 0x300: "s3", 2: "s2"}.get(version, "00")
    alpn = Reader(data[16][2:]).block(1) if 16 in data else b""
    algorithms = numbers(data[13][2:]) if 13 in data else []
    third = listed(sorted(kind for kind in types if kind not in (0, 16)))
    if algorithms:
        third += "_" + listed(algorithms)
    counts = f"{min(len(ciphers), 99):02d}{min(len(types), 99):02d}"
    return (f"t{code}{'d' if 0 in data else 'i'}{counts}{first_and_last(alpn)}"
            f"_{hashed(listed(sorted(ciphers)))}_{hashed(third)}")
