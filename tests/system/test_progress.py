"""What takes long says so on a terminal: one line that moves and is gone at the end. Elsewhere nothing is said."""

import os
import pty
import socket
import struct
import subprocess
import threading
import time

from harness import BINARY, slow

ERASED = b"\r\x1b[K"


def on_terminal(*arguments):
    """The exit status, what standard output got, and what the terminal got that is standard error."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = []

    def read():
        try:
            while piece := os.read(ours, 65536):
                shown.append(piece)
        except OSError:  # EIO: its other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    output, _ = process.communicate(timeout=slow(60))
    reader.join(slow(60))
    os.close(ours)
    return process.returncode, output.decode(), b"".join(shown)


def slow_usher(path):
    """A control socket whose owner thinks for a while."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer():
        client, _ = listener.accept()
        with client, listener:
            client.recv(4096)
            time.sleep(2.5)
            client.sendall(b'{"done": "reloaded"}\n')

    threading.Thread(target=answer).start()


def test_an_order_that_takes_long_shows_the_seconds(place):
    slow_usher(place / "control")
    status, output, shown = on_terminal("reload", "--socket", str(place / "control"))
    assert (status, output) == (0, "reloaded\n")
    assert shown.startswith(ERASED + b"waiting for usher: 1 s" + ERASED + b"waiting for usher: 2 s") and shown.endswith(ERASED)


def test_where_there_is_no_terminal_nothing_is_said(place):
    slow_usher(place / "control")
    done = subprocess.run([BINARY, "reload", "--socket", str(place / "control")], capture_output=True, timeout=slow(60))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"reloaded\n", b"")


def test_a_large_capture_shows_how_many_packets_were_read(place):
    """Of ARP, which makes no flow."""
    frame = b"\xff" * 12 + b"\x08\x06" + bytes(46)
    packet = struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame
    capture = place / "arp.pcap"
    capture.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + packet * 140000)
    config = place / "usher.conf"
    config.write_text('listen = "127.0.0.1:1443"; services = ({ name = "ssh"; match = "ssh"; connect = "127.0.0.1:22"; });')
    status, _, shown = on_terminal("explain", "--config", str(config), str(capture))
    assert status == 0
    assert shown.startswith(ERASED + b"65536 packets read" + ERASED + b"131072 packets read" + ERASED)
