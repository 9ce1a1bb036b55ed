"""A name server of the test's own, on a loopback address that no other test has, and the way to have usher ask it: a mount namespace with
another /etc/resolv.conf. It can be told to be slow, silent, failing, changing, truncating and lying."""

import pathlib
import random
import socket
import struct
import threading
import time

from harness import IS_ROOT

A, CNAME, TXT, AAAA, SRV = 1, 5, 16, 28, 33
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5

WHY_NOT = (None if IS_ROOT and pathlib.Path("/etc/resolv.conf").exists()
           else "needs root: port 53 and a mount namespace with another /etc/resolv.conf: root alone has both")


def in_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def record(kind, ttl, data, owner=b"\xc0\x0c"):
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class NameServer:
    """zone[name] = (addresses, TTL); services[name] = ([(priority, weight, port, target)], TTL), and the addresses of targets come along
    where `additional` says so. mode[kind of question, or None for all] is one of the names of `lies`, "silent", or a code of
    failure; `delay` is in seconds."""

    def __init__(self):
        self.zone = {}
        self.services = {}
        self.additional = True
        self.mode = {}
        self.delay = 0
        self.asked = []   # (name, kind), each question over UDP
        self.streams = 0  # questions over TCP
        self.closing = False
        while True:
            self.address = "127.%d.%d.%d" % tuple(random.randint(1, 250) for _ in range(3))
            try:
                self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.datagrams.bind((self.address, 53))
                self.listener = socket.create_server((self.address, 53))
                break
            except OSError:
                self.datagrams.close()
        for run in (self._serve_datagrams, self._serve_streams):
            threading.Thread(target=run, daemon=True).start()

    # ---- what a test looks at

    def times_asked(self, name, kind=A):
        return self.asked.count((name, kind))

    def wrapper(self, place, hosts="127.0.0.1 localhost\n::1 localhost\n", nsswitch="hosts: files dns\n", more=""):
        """For usher(wrapper=...): it sees only these files."""
        files = {"resolv.conf": f"nameserver {self.address}\n", "hosts": hosts, "nsswitch.conf": nsswitch}
        mounts = ""
        for name, text in files.items():
            (place / name).write_text(text)
            (place / name).chmod(0o644)
            if pathlib.Path("/etc", name).exists():
                mounts += f"mount --bind {place / name} /etc/{name}; "
        return lambda command: ["unshare", "-m", "sh", "-ec", mounts + more + 'exec "$@"', "sh", *map(str, command)]

    def close(self):
        self.closing = True
        self.listener.close()
        self.datagrams.close()

    # ---- serving

    def _serve_datagrams(self):
        while not self.closing:
            try:
                question, peer = self.datagrams.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._answer_datagram, args=(question, peer), daemon=True).start()

    def _answer_datagram(self, question, peer):
        name, kind = self._read(question)
        self.asked.append((name, kind))
        time.sleep(self.delay)
        mode = self.mode.get(kind, self.mode.get(None))
        if mode == "silent":
            return
        for answer in getattr(self, "_lie_" + mode.replace("-", "_"))(question) if isinstance(mode, str) \
                else [self.answer(question, mode or 0)]:
            try:
                self.datagrams.sendto(answer, peer)
            except OSError:
                return

    def _serve_streams(self):
        while not self.closing:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_stream, args=(stream,), daemon=True).start()

    def _serve_stream(self, stream):
        with stream:
            stream.settimeout(30)
            try:
                while len(head := stream.recv(2, socket.MSG_WAITALL)) == 2:
                    question = stream.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                    self.streams += 1
                    if self.mode.get(None) == "silent":
                        continue
                    answer = self.answer(question)
                    stream.sendall(struct.pack("!H", len(answer)) + answer)
            except OSError:
                pass

    @staticmethod
    def _read(question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += question[at] + 1
        return ".".join(labels).lower(), struct.unpack("!H", question[at + 1:at + 3])[0]

    @staticmethod
    def _asked_part(question):
        at = 12
        while question[at]:
            at += question[at] + 1
        return question[12:at + 5]

    def answer(self, question, code=0, flags=0x8180):
        name, kind = self._read(question)
        records, more = [], []
        if name not in self.zone and name not in self.services:
            code = code or NXDOMAIN
        elif code == 0 and kind == SRV:
            offers, ttl = self.services.get(name, ([], 0))
            records = [record(SRV, ttl, struct.pack("!HHH", *offer[:3]) + in_name(offer[3])) for offer in offers]
            for target in dict.fromkeys(offer[3] for offer in offers if self.additional):
                more += self._addresses(target, A, in_name(target)) + self._addresses(target, AAAA, in_name(target))
        elif code == 0:
            records = self._addresses(name, kind)
        return (question[:2] + struct.pack("!HHHHH", flags | code, 1, len(records), 0, len(more)) +
                self._asked_part(question) + b"".join(records + more))

    def _addresses(self, name, kind, owner=b"\xc0\x0c"):
        addresses, ttl = self.zone.get(name, ([], 0))
        family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
        return [record(kind, ttl, socket.inet_pton(family, one), owner)
                for one in addresses if (":" in one) == (family == socket.AF_INET6)]

    # ---- lies: each a list of datagrams

    def _lie_truncated(self, question):
        return [question[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + self._asked_part(question)]

    def _forged(self, question):
        """A well-made answer with an address that nobody should believe."""
        return (question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + self._asked_part(question) +
                record(A, 60, socket.inet_aton("127.0.0.66")))

    def _lie_wrong_id(self, question):
        forged = self._forged(question)
        return [bytes([forged[0] ^ 0x55, forged[1] ^ 0xAA]) + forged[2:]]

    def _lie_wrong_question(self, question):
        return [question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + in_name("other.test") + struct.pack("!HH", A, 1) +
                record(A, 60, socket.inet_aton("127.0.0.66"))]

    def _lie_long(self, question):
        """True, and longer than any question allows."""
        answer = self.answer(question)
        return [answer[:10] + struct.pack("!H", 200) + answer[12:] + 200 * record(TXT, 60, b"\xff" + 255 * b"x")]

    def _lie_loop(self, question):
        head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + self._asked_part(question)
        here = struct.pack("!H", 0xC000 | len(head))
        return [head + record(A, 60, socket.inet_aton("127.0.0.66"), here),
                head + record(CNAME, 60, struct.pack("!H", 0xC000 | (len(head) + 12)))]

    def _lie_short(self, question):
        answer = self._forged(question)
        return [answer[:n] for n in range(0, len(answer), 7)]
