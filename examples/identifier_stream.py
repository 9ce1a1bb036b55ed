#!/usr/bin/python3
"""An external identifier of mode "stream": one process, kept, for all questions; usher.conf(5) has the format.

    identifiers = ( { program = [ "/usr/libexec/usher/identifier-stream.py" ]; mode = "stream"; } );

This one knows two protocols by their first word, and asks for more bytes as long as they could become one.
"""

import struct
import sys

KNOWN = {b"EHLO ": b"smtp", b"HELO ": b"smtp", b"NICK ": b"irc", b"PASS ": b"irc"}
NO, YES, MORE = 0, 1, 2


def identify(data, is_all):
    for word, name in KNOWN.items():
        if data.startswith(word):
            return YES, name
    if not is_all and any(word.startswith(data) for word in KNOWN):
        return MORE, b""
    return NO, b""


while head := sys.stdin.buffer.read(9):
    length, number, flags = struct.unpack("!IIB", head)
    verdict, name = identify(sys.stdin.buffer.read(length - 5), flags & 1)
    sys.stdout.buffer.write(struct.pack("!IIB", 5 + len(name), number, verdict) + name)
    sys.stdout.buffer.flush()
