"""A real ssh client, a real sshd, usher in between: relayed to, and run on the client's socket."""

import subprocess

import pytest
from harness import connect, end_process, free_port, read_exactly, slow, wait_for_server
from servers import digest_of_file, digest_of_output, make_file, output_of

DELIVERIES = pytest.mark.parametrize("exec_sshd", [False, True], ids=["connect", "exec"])


@DELIVERIES
def test_a_command_runs_and_its_exit_status_and_both_outputs_go_through(one_port, sshd, exec_sshd):
    one = one_port(exec_sshd)
    done = sshd.ssh(one.port, "cat; echo to stderr >&2; exit 7", input=b"to stdin\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"to stdin\n", b"to stderr\n", 7)
    (line,) = one.wait_connections(1)
    assert line["protocol"] == "ssh" and line["service"] == "ssh"
    if exec_sshd:
        assert (line["delivery"], line["to"], line["end"]) == ("exec", sshd.inetd[0], "program-started")
    else:
        assert (line["delivery"], line["to"]) == ("connect", f"127.0.0.1:{sshd.port}")
        assert line["end"] == "finished" and int(line["bytes_up"]) > 1000 and int(line["bytes_down"]) > 1000


@DELIVERIES
def test_sshd_sees_the_client_itself_where_it_runs_on_its_socket(one_port, sshd, exec_sshd):
    """A relayed connection comes from usher; an executed sshd has the client's own as SSH_CLIENT says."""
    one = one_port(exec_sshd)
    there = output_of(["ssh", *sshd.options(one.port), "127.0.0.1", "echo $SSH_CONNECTION"]).split()
    (line,) = one.wait_connections(1)
    client_port = int(line["client"].rsplit(":", 1)[1])
    assert (int(there[1]) == client_port) == exec_sshd
    assert int(there[3]) == (one.port if exec_sshd else sshd.port)


def test_a_copy_of_200_mb_arrives_whole_in_both_directions(one_port, sshd, big):
    path, digest = big
    one = one_port()
    cheap = ["-c", "aes128-gcm@openssh.com", "-o", "Compression=no"]
    ssh = ["ssh", *sshd.options(one.port), *cheap, "127.0.0.1"]
    assert digest_of_output([*ssh, "cat", path]) == digest
    with open(path, "rb") as file:
        assert output_of([*ssh, "sha256sum"], stdin=file, timeout=60).split()[0].decode() == digest
    down, up = one.wait_connections(2, service="ssh")
    assert int(down["bytes_down"]) > 200_000_000 and int(up["bytes_up"]) > 200_000_000


def test_a_copy_of_20_mb_through_an_sshd_that_usher_runs(one_port, sshd, place):
    digest = make_file(place / "file", 20_000_000)
    one = one_port(exec_sshd=True)
    ssh = ["ssh", *sshd.options(one.port), "-c", "aes128-gcm@openssh.com", "127.0.0.1"]
    assert digest_of_output([*ssh, "cat", place / "file"]) == digest
    with open(place / "file", "rb") as file:
        assert output_of([*ssh, "sha256sum"], stdin=file, timeout=60).split()[0].decode() == digest


@DELIVERIES
def test_sftp_puts_and_gets_a_file(one_port, sshd, place, exec_sshd):
    digest = make_file(place / "there", 10_000_000)
    one = one_port(exec_sshd)
    batch = f"put {place}/there {place}/copy\nget {place}/copy {place}/back\n"
    output_of(["sftp", *sshd.options(one.port), "-b", "-", "127.0.0.1"], input=batch.encode())
    assert digest_of_file(place / "copy") == digest
    assert digest_of_file(place / "back") == digest


def test_a_forwarded_port_carries_data_both_ways(one_port, sshd, echo):
    one = one_port()
    forwarded = free_port()
    client = subprocess.Popen(["ssh", *sshd.options(one.port), "-N", "-o", "ExitOnForwardFailure=yes",
                               "-L", f"127.0.0.1:{forwarded}:127.0.0.1:{echo.port4}", "127.0.0.1"],
                              stdin=subprocess.DEVNULL)
    try:
        wait_for_server(("127.0.0.1", forwarded))
        for size in (1, 1000, 1_000_000):
            with connect(forwarded) as through:
                data = bytes(range(256)) * (size // 256 + 1)
                through.sendall(data)
                assert read_exactly(through, len(data)) == data
    finally:
        end_process(client)


def test_an_ssh_client_that_waits_for_the_server_gets_it_by_on_silence(one_port):
    """RFC 4253 4.2 lets either side speak first."""
    one = one_port(decide_timeout=0.2)
    with one.connect() as client:
        assert client.recv(8) == b"SSH-2.0-"
    (line,) = one.wait_connections(1)
    assert line["service"] == "ssh" and "protocol" not in line
    assert float(line["decided_ms"]) >= 200


@DELIVERIES
def test_ten_ssh_clients_at_once(one_port, sshd, exec_sshd):
    one = one_port(exec_sshd)
    clients = [subprocess.Popen(["ssh", *sshd.options(one.port), "127.0.0.1", f"echo {number}"],
                                stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(10)]
    answers = [client.communicate(timeout=slow(60)) for client in clients]
    assert [client.returncode for client in clients] == [0] * 10, answers
    assert [int(out) for out, _ in answers] == list(range(10))
    one.wait_connections(10, service="ssh")
