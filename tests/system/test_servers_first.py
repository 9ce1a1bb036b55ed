"""One port in front of everything, briefly."""

import subprocess


def test_ssh_http_tls_echo(usher, sshd, nginx, echo):
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];  workers = 2;
        protocols = ( { name = "echo"; string = "echo"; } );
        services = ( { name = "ssh"; match = "ssh"; connect = "127.0.0.1:{ssh}"; },
                     { name = "web"; match = "http"; connect = "127.0.0.1:{http}"; },
                     { name = "tls"; match = "tls"; connect = "127.0.0.1:{https}"; },
                     { name = "echo"; match = "echo"; connect = "{echo}"; } );
        on_silence = "ssh";
    """, ssh=sshd.port, http=nginx.http, https=nginx.https_one, echo=echo.tcp4)
    assert sshd.ssh(one.port, "echo hello").stdout == b"hello\n"
    assert sshd.ssh(one.port, "exit 7").returncode == 7
    page = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{one.port}/small"], capture_output=True)
    assert page.stdout == b"small\n", page
    page = subprocess.run(["curl", "-sSk", f"https://127.0.0.1:{one.port}/who"], capture_output=True)
    assert page.stdout.startswith(b"one "), page
    with one.connect() as client:
        client.sendall(b"echo me")
        assert client.recv(7) == b"echo me"
    lines = one.wait_connections(5)
    assert [line["service"] for line in lines] == ["ssh", "ssh", "web", "tls", "echo"]
    assert len(one.workers) == 2
