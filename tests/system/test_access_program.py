"""usher-access: the program that stands before a server and asks a policy. By itself, and where usher runs it."""

import socket
import subprocess
import threading
from datetime import datetime, timezone

import pytest
from harness import BUILD, ENVIRONMENT, SOURCE, connect, end_process, read_all, slow, wait_until

ACCESS = BUILD / "src/usher-access"
SERVER = ["/bin/sh", "-c", 'read line; echo "$line: served by $0 $*"', "stub", "one word", "$HOME"]
SERVED = b"hello: served by stub one word $HOME\n"


@pytest.fixture
def gate(place):
    """gate(policy) is a place where usher-access stands; .ask() comes to it."""
    return lambda policy, **words: Gate(place, policy, **words)


class Answer:
    def __init__(self, data, error, status, log):
        self.data, self.error, self.status, self.log = data, error, status, log

    @property
    def served(self):
        return self.data == SERVED

    def refused_by(self, rule):
        return self.status == 1 and self.data == b"" and f"rule={rule}\n" in self.log


class Gate:
    def __init__(self, place, policy, **words):
        self.place = place
        self.policy = place / "access.conf"
        self.policy.write_text(policy.replace("{state}", str(place / "rates")).replace("{dir}", str(place)))
        self.words = words

    def ask(self, source="127.0.0.1", protocol="ssh", program=SERVER, family=socket.AF_INET, send=b"hello\n", env=None):
        """A client from that source comes, says hello, and reads to the end."""
        local = "127.0.0.1" if family == socket.AF_INET else "::1"
        with socket.create_server((local, 0), family=family) as listening:
            client = connect(listening.getsockname()[:2], source=(source, 0))
            stream, _ = listening.accept()
        command = [str(ACCESS), "-e", "-c", str(self.policy), protocol, *program]
        with client:
            client.sendall(send)
            with stream:
                process = subprocess.Popen(command, stdin=stream, stdout=stream, stderr=subprocess.PIPE,
                                           env={**ENVIRONMENT, **(env or {})})
            data, error = b"", None
            try:
                data = read_all(client)
            except OSError as problem:
                error = problem
            log = process.communicate(timeout=slow(20))[1].decode()
        return Answer(data, error, process.returncode, log)


def test_who_is_admitted_gets_the_server_with_its_arguments_and_every_byte(gate):
    answer = gate('rules = ( { protocol = "ssh"; allow = "127.0.0.0/8"; } );').ask()
    assert answer.served and answer.status == 0 and answer.log == ""


def test_allow_and_deny(gate):
    one = gate('rules = ( { protocol = "ssh"; allow = [ "127.0.0.0/24", "::1" ]; deny = "127.0.0.66"; } );')
    assert one.ask("127.0.0.9").served
    assert one.ask("::1", family=socket.AF_INET6).served
    assert one.ask("127.0.0.66").refused_by("deny")
    assert one.ask("127.0.1.1").refused_by("allow")


def test_a_list_in_a_file(gate, place):
    (place / "friends").write_text("# us\n127.0.0.7 # me\n")
    one = gate('rules = ( { protocol = "ssh"; allow = "file:{dir}/friends"; } );')
    assert one.ask("127.0.0.7").served
    assert one.ask("127.0.0.8").refused_by("allow")


def test_hours(gate):
    always = gate('rules = ( { protocol = "ssh"; hours = "daily 00:00-24:00"; } );')
    assert always.ask().served
    now = datetime.now(timezone.utc)
    closed = now.strftime("%a"), (now.hour + 2) % 24, (now.hour + 3) % 24
    never = gate('rules = ( { protocol = "ssh"; hours = "%s %02d:00-%02d:00 UTC"; } );' % closed)
    assert never.ask().refused_by("hours")


def test_the_first_rule_that_names_the_protocol_counts_and_without_any_there_is_no_way_in(gate):
    one = gate('rules = ( { protocol = [ "ssh", "rsync" ]; deny = "127.0.0.2"; }, { protocol = "ssh"; deny = "::/0"; },'
               ' { protocol = "http"; deny = "127.0.0.3"; } );')
    assert one.ask("127.0.0.2").refused_by("deny")
    assert one.ask("127.0.0.3").served and one.ask("127.0.0.2", "http").served
    assert one.ask("127.0.0.2", "rsync").refused_by("deny")
    assert one.ask("127.0.0.2", "smtp").refused_by("protocol")
    other = gate('rules = ( { protocol = "ssh"; deny = "127.0.0.2"; }, { protocol = "*"; allow = "127.0.0.2"; } );')
    assert other.ask("127.0.0.2", "smtp").served and other.ask("127.0.0.3", "smtp").refused_by("allow")


def test_a_rate_is_kept_from_one_process_to_the_next(gate):
    one = gate('state = "{state}"; rules = ( { protocol = "ssh"; rate = "3/hour"; }, { protocol = "*"; rate = "1/hour"; } );')
    assert [one.ask().served for _ in range(5)] == [True, True, True, False, False]
    assert one.ask().refused_by("rate")
    assert one.ask("127.0.0.2").served, "another source"
    assert one.ask(protocol="http").served, "another protocol"
    assert one.ask(protocol="http").refused_by("rate")


def test_a_rate_comes_back_with_time(gate):
    one = gate('state = "{state}"; rules = ( { protocol = "ssh"; rate = "1/second"; } );')
    assert one.ask().served
    wait_until(lambda: one.ask().served, 5, "another second")


def test_processes_at_the_same_moment_share_a_rate(gate):
    one = gate('state = "{state}"; rules = ( { protocol = "ssh"; rate = "5/hour"; } );')
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(one.ask())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer.served for answer in answers) == 5
    assert sum(answer.refused_by("rate") for answer in answers) == 15


@pytest.mark.parametrize(
    "rubbish", [b"", b"rubbish", b"\0" * 100, b"usher-rates-001\0" + b"\xff" * 5000], ids=["empty", "a word", "zeros", "a head alone"]
)
def test_a_state_file_that_is_none_is_made_anew(gate, place, rubbish):
    (place / "rates").write_bytes(rubbish)
    one = gate('state = "{state}"; rules = ( { protocol = "ssh"; rate = "2/hour"; } );')
    assert [one.ask().served for _ in range(3)] == [True, True, False]


def test_a_state_that_cannot_be_used_refuses(gate, place):
    one = gate('state = "{dir}/no/such/folder"; rules = ( { protocol = "ssh"; rate = "2/hour"; } );')
    answer = one.ask()
    assert answer.refused_by("rate") and "No such file or directory" in answer.log
    (place / "elsewhere").write_text("precious")
    (place / "rates").symlink_to(place / "elsewhere")
    assert gate('state = "{state}"; rules = ( { protocol = "ssh"; rate = "2/hour"; } );').ask().refused_by("rate")
    assert (place / "elsewhere").read_text() == "precious"


def test_refused_with_a_reset_or_closed_in_order_though_bytes_are_unread(gate):
    closing = gate('rules = ( { protocol = "ssh"; deny = "127.0.0.0/8"; } );').ask(send=b"x" * 10000)
    assert closing.data == b"" and closing.error is None
    resetting = gate('rules = ( { protocol = "ssh"; deny = "127.0.0.0/8"; refuse = "reset"; } );').ask()
    assert isinstance(resetting.error, ConnectionResetError)


def test_a_policy_with_an_error_refuses_and_tells_it(gate):
    answer = gate('rules = (\n { protocol = "ssh"; allow = "127.0.0.1/8"; } );').ask()
    assert answer.refused_by("policy") and "access.conf:2: `127.0.0.1/8' has bits set behind" in answer.log
    one = gate("")
    assert one.ask().refused_by("policy")
    one.policy.unlink()
    assert one.ask().refused_by("policy")


def test_a_policy_can_be_tested(gate, place):
    def test(text):
        one = gate(text)
        return subprocess.run([ACCESS, "-t", "-c", one.policy], capture_output=True, text=True, check=False)

    assert test('rules = ( { protocol = "ssh"; } );').returncode == 0
    bad = test('rules = ( { protocol = "ssh"; alow = "::/0"; per_source = 3; }, { allow = "x"; } );\nstate = "here";')
    assert bad.returncode == 2
    for text in ("unknown key `alow' in a rule (did you mean `allow'?)", "unknown key `per_source'", "rule without `protocol'",
                 "`x' is no address", ":2: `state' is \"here\", expected an absolute path"):
        assert text in bad.stderr


def test_the_policy_that_comes_with_it_admits_this_machine_only(gate, place):
    one = gate((SOURCE / "etc/access.conf").read_text().replace("# state = \"/run/", f'state = "{place}/'))
    assert one.ask().served and one.ask("::1", family=socket.AF_INET6).served and one.ask(protocol="smtp").served
    assert subprocess.run([ACCESS, "-t", "-c", SOURCE / "etc/access.conf"], check=False).returncode == 0


def test_a_server_without_a_slash_is_found_in_path_and_told_where_it_is(gate, place):
    server = place / "server"
    server.write_text("#!/bin/sh\nread line\necho $0\n")
    server.chmod(0o755)
    one = gate('rules = ( { protocol = "*"; } );')
    assert one.ask(program=["server"], env={"PATH": f".:{place}:/bin"}).data == f"{server}\n".encode()
    answer = one.ask(program=["no-such-server"])
    assert answer.status == 127 and answer.data == b"" and "no-such-server: No such file" in answer.log


@pytest.mark.parametrize("arguments", [[], ["ssh"], ["-x", "ssh", "/bin/true"], ["-t", "ssh"]])
def test_wrong_arguments(arguments):
    done = subprocess.run([ACCESS, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 2 and done.stdout == b"" and done.stderr == b"", "descriptor 2 may be a client"


def test_no_connection_on_descriptor_0(gate):
    one = gate('rules = ( { protocol = "*"; } );')
    done = subprocess.run([ACCESS, "-e", "-c", one.policy, "ssh", "/bin/echo", "reached"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == "" and "descriptor 0 is no connection" in done.stderr


def test_a_client_of_a_unix_socket_has_no_address(gate, place):
    one = gate('rules = ( { protocol = "*"; allow = "192.0.2.1"; rate = "1/hour"; } );')
    for _ in range(2):
        ours, theirs = socket.socketpair()
        with ours:
            process = subprocess.Popen([ACCESS, "-c", one.policy, "ssh", *SERVER], stdin=theirs, stdout=theirs)
            theirs.close()
            ours.sendall(b"hello\n")
            assert read_all(ours) == SERVED
            end_process(process)


# ---- where usher runs it

EXEC = """
listen = [ "127.0.0.1:{port}" ];
services = ( { name = "ssh"; match = "ssh"; exec = [ {words} ]; } );
"""


def words_of(*words):
    return ", ".join('"' + str(word).replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)


def test_usher_runs_it_before_a_server(usher, gate):
    one = gate('rules = ( { protocol = "ssh"; allow = "127.0.0.7"; } );')
    running = usher(EXEC, words=words_of(ACCESS, "-c", one.policy, "ssh", *SERVER))
    with connect(running.port, source=("127.0.0.7", 0)) as client:
        client.sendall(b"SSH-2.0-me\r\n")
        assert read_all(client).startswith(b"SSH-2.0-me\r: served by stub one word $HOME")
    with connect(running.port, source=("127.0.0.8", 0)) as client:
        client.sendall(b"SSH-2.0-me\r\n")
        assert read_all(client) == b""
    running.wait_connections(2, service="ssh", end="program-started")


def test_usher_runs_it_before_sshd(usher, gate, sshd):
    one = gate('rules = ( { protocol = "ssh"; allow = "127.0.0.1"; hours = "daily 00:00-24:00"; deny = "127.0.0.2"; } );')
    running = usher(EXEC, words=words_of(ACCESS, "-c", one.policy, "ssh", *sshd.inetd))
    done = sshd.ssh(running.port, "cat; exit 7", input=b"through the gate\n")
    assert (done.stdout, done.returncode) == (b"through the gate\n", 7)
    refused = sshd.ssh(running.port, "true", options=["-b", "127.0.0.2"])
    assert refused.returncode == 255 and refused.stdout == b""


def test_behind_a_proxy_the_client_is_who_usher_says(usher, place):
    policy = place / "policy"
    policy.write_text('rules = ( { protocol = "ssh"; allow = "192.0.2.7"; } );')
    one = usher('''listen = ( { address = "127.0.0.1:{port}"; accept_proxy = "127.0.0.1"; } );  workers = 1;
        services = ( { name = "ssh"; match = "ssh"; exec = [ "%s", "-c", "%s", "ssh", "/bin/echo", "served" ]; } );''' % (ACCESS, policy))
    for client, served in (("192.0.2.7", b"served\n"), ("192.0.2.8", b"")):
        with one.connect() as connection:
            connection.sendall(b"PROXY TCP4 %s 198.51.100.1 52044 443\r\nSSH-2.0-x\r\n" % client.encode())
            try:
                answer = connection.recv(100)
            except ConnectionResetError:
                answer = b""
            assert answer == served, client
