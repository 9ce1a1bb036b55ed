"""accept_server.py WAY PORT|fd PROCESSES: a server of some processes that share a listening socket and wait for connections in
one way. It answers a line with what it knows of the connection, and prints what its sockets say of themselves."""

import errno
import json
import os
import select
import signal
import socket
import sys
import threading
import time

way, port, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])

if port == "fd":
    assert (os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"]) == ("1", str(os.getpid()))
    listener = socket.socket(fileno=3)
else:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if way == "reuseport":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(5)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)


def said(sock):
    """What a socket says of itself."""
    return {
        "name": sock.getsockname(),
        "type": sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
        "domain": sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN),
        "protocol": sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL),
        "listens": sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
        "nodelay": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
    }


def serve(client, peer, told):
    with client:
        client.settimeout(60)
        line = client.makefile("rb").readline()
        about = {"line": line.decode(), "pid": os.getpid(), "peer": peer, "getpeername": client.getpeername(),
                 "inherits": os.get_inheritable(client.fileno()), "blocks": told, "client": said(client),
                 "listener": said(listener), "copy": said(listener.dup())}
        try:
            listener.getpeername()
        except OSError as error:
            about["listener_peer"] = error.errno
        client.sendall(json.dumps(about).encode() + b"\n")


def take():
    try:
        client, peer = listener.accept()
    except BlockingIOError:
        return False
    except OSError as error:
        assert error.errno == errno.EMFILE
        time.sleep(0.01)
        return False
    # Python sets a timeout of its own: what the kernel was left with is what counts.
    serve(client, peer, os.get_blocking(client.fileno()))
    return True


def wait_blocking():
    while True:
        take()


def wait_threads():
    threads = [threading.Thread(target=wait_blocking) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wait_select():
    listener.setblocking(False)
    while True:
        if select.select([listener], [], [])[0]:
            take()


def wait_poll():
    listener.setblocking(False)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        for _, events in poll.poll():
            assert events == select.POLLIN
            take()


def wait_epoll(flags, drain):
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN | flags)
    while True:
        for _, events in epoll.poll():
            assert events == select.EPOLLIN
            while take() and drain:
                pass


WAYS = {
    "blocking": wait_blocking,
    "threads": wait_threads,
    "select": wait_select,
    "poll": wait_poll,
    "epoll": lambda: wait_epoll(0, False),
    "epoll-exclusive": lambda: wait_epoll(select.EPOLLEXCLUSIVE, False),
    "epoll-edge": lambda: wait_epoll(select.EPOLLET, True),
    "reuseport": lambda: wait_epoll(0, False),
}

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
pids, listeners = [], [listener]
for _ in range(processes):
    if way == "reuseport" and pids:
        more = socket.socket()
        more.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        more.bind(("127.0.0.1", int(port)))
        more.listen()
        listener = more
        listeners.append(more)
    pids.append(os.fork())
    if pids[-1] == 0:
        WAYS[way]()


def end(*_):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
for pid in pids:
    os.waitpid(pid, 0)
