"""Captures written by hand: packets, and the files that hold them."""

import ipaddress
import struct

FIN, SYN, RST, ACK = 1, 2, 4, 16

ETHERNET, RAW, SLL, SLL2, NULL, PPP, PPP_ETHER, WIFI = 1, 101, 113, 276, 0, 9, 51, 105


def ip(source, target, protocol, payload):
    """An IPv4 or IPv6 packet, without checksums, as the card would fill them in."""
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source.packed + target.packed + payload
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0, 64, protocol, 0) + source.packed + target.packed + payload


def tcp(source, target, flags, sequence, payload=b"", acknowledged=0):
    head = struct.pack("!HHIIBBHHH", source[1], target[1], sequence % 2**32, acknowledged % 2**32, 5 << 4, flags, 1000, 0, 0)
    return ip(source[0], target[0], 6, head + payload)


def udp(source, target, payload):
    return ip(source[0], target[0], 17, struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload)


def conversation(client, server, segments, base=1000, end=False):
    """A connection: the handshake, the client's segments each acknowledged, and an end if it is asked for."""
    packets = [tcp(client, server, SYN, base), tcp(server, client, SYN | ACK, 77, acknowledged=base + 1)]
    at = base + 1
    for segment in segments:
        packets.append(tcp(client, server, ACK, at, segment, 78))
        at += len(segment)
        packets.append(tcp(server, client, ACK, 78, acknowledged=at))
    if end:
        packets.append(tcp(client, server, FIN | ACK, at, acknowledged=78))
    return packets


def ethernet(packet, *tags):
    head = b"\x02\0\0\0\0\1\x02\0\0\0\0\2" + b"".join(struct.pack("!HH", kind, number) for kind, number in tags)
    return head + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet


def pcap(packets, link=RAW, order="<", nanoseconds=False, snap=65535, seconds=0.001):
    """The bytes of a file; `packets` follow each other after so many seconds."""
    text = struct.pack(order + "IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, snap, link)
    for number, packet in enumerate(packets):
        time = 1700000000 + number * seconds
        part = int(time % 1 * (1e9 if nanoseconds else 1e6))
        text += struct.pack(order + "IIII", int(time), part, min(len(packet), snap), len(packet)) + packet[:snap]
    return text


def block(order, kind, body):
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(packets, link=RAW, order="<"):
    text = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    text += block(order, 1, struct.pack(order + "HHI", link, 0, 65535))
    for number, packet in enumerate(packets):
        time = 1700000000000000 + number * 1000
        head = struct.pack(order + "IIIII", 0, time >> 32, time % 2**32, len(packet), len(packet))
        text += block(order, 6, head + packet)
    return text
