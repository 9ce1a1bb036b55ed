"""A network of the benchmark's own: a namespace with nothing but a loopback device.

Otherwise firewall rules, connection tracking and the machine's congestion control would be measured too
(BBR paces even the loopback, to a third of its speed). Where the kernel allows no namespace, the machine's
own network is used and the report says so.
"""

import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import sys

MARK = "USHER_BENCH_OWN_NETWORK"
CONGESTION_CONTROL = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
UNSHARE_AS_USER = ["unshare", "--net", "--user", "--map-current-user", "--keep-caps"]


def enter():
    """Begins this program anew inside the namespace; returns there, or here if there can be none."""
    if os.environ.get(MARK):
        bring_up_loopback()
        CONGESTION_CONTROL.write_text("reno")  # always built in, and allowed in a namespace
        keep_rights_from_children()
        return
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else UNSHARE_AS_USER
    if works([*unshare, "true"]):
        os.execvpe(unshare[0], [*unshare, sys.executable, *sys.argv], os.environ | {MARK: "1"})


def works(argv):
    try:
        return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def bring_up_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def keep_rights_from_children():
    """What an unprivileged user was given over the namespace, contenders need not have."""
    ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def described():
    where = "network namespace of its own" if os.environ.get(MARK) else "the machine's own network"
    return f"{where}, {CONGESTION_CONTROL.read_text().strip()}"
