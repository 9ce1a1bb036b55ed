"""What a reload does to a session that lives on: beside usher HAProxy and nginx, whose old processes stay as long as it does."""

import os
import signal
import subprocess
import time

from harness import IS_ROOT, children, connect, end_process, free_port, read_exactly, wait_for_server, wait_until
from peers import RELAY
from servers import NGINX

HAPROXY = """
global
	maxconn 100
defaults
	mode tcp
	timeout connect 5s
	timeout client 1h
	timeout server 1h
frontend in
	bind 127.0.0.1:{port}
	default_backend out
backend out
	server one 127.0.0.1:{backend}
"""

NGINX_STREAM = """
load_module modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log; {user}
events {{ worker_connections 100; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{backend}; proxy_timeout 1h; }} }}
"""


def session(port, backend):
    client = connect(port)
    client.sendall(b"go")
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    return client, server


def talks(client, server):
    client.sendall(b"ping")
    assert read_exactly(server, 4) == b"ping"
    server.sendall(b"pong")
    assert read_exactly(client, 4) == b"pong"


def old_stays_with_its_session(process, port, backend, reload_signal):
    """Both before and after the session's end."""
    client, server = session(port, backend)
    old = set(children(process.pid))
    for _ in range(10):  # a master that has just begun may not hear the first
        os.kill(process.pid, reload_signal)
        end = time.monotonic() + 5
        while time.monotonic() < end and not set(children(process.pid)) - old:
            time.sleep(0.05)
        if set(children(process.pid)) - old:
            break
    assert set(children(process.pid)) - old, "no new worker"
    time.sleep(1)
    talks(client, server)
    kept = old & set(children(process.pid))
    client.close()
    server.close()
    wait_until(lambda: not old & set(children(process.pid)), 10, "the old worker to end with its session")
    return bool(kept)


def test_usher_s_old_worker_goes_and_the_session_stays(usher, backend):
    one = usher(RELAY, backend=backend.port)
    client, server = session(one.port, backend)
    old = set(one.workers)
    one.reload()
    wait_until(lambda: not old & set(one.workers), 2, "the old worker to be gone")
    talks(client, server)
    client.close()
    server.close()


def test_haproxy_s_old_worker_stays_with_it(place, backend):
    port = free_port()
    config = place / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, backend=backend.port))
    process = subprocess.Popen(["/usr/sbin/haproxy", "-W", "-f", config], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for_server(port)
        backend.accept().close()
        assert old_stays_with_its_session(process, port, backend, signal.SIGUSR2)
    finally:
        end_process(process)


def test_nginx_s_old_worker_stays_with_it(place, backend):
    port = free_port()
    config = place / "nginx.conf"
    user = "user root;" if IS_ROOT else ""
    config.write_text(NGINX_STREAM.format(dir=place, port=port, backend=backend.port, user=user))
    process = subprocess.Popen([NGINX, "-p", "/usr/share/nginx", "-c", config, "-e", place / "error.log"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_server(port)
        backend.accept().close()
        assert old_stays_with_its_session(process, port, backend, signal.SIGHUP)
    finally:
        end_process(process)
