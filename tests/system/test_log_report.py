"""usher log-report: what logs add up to, of what usher really logs and of what is no log of its."""

import gzip
import json
import os
import subprocess

import pytest
from harness import BINARY as USHER, new_directory, read_exactly, remove_directory, slow
from peers import client_hello, how_it_ends

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;
services = ( { name = "echo"; match = "ssh"; connect = "{echo}"; },
             { name = "no"; match = "tls"; reject = "close"; },
             { name = "denied"; match = "http"; connect = "{echo}"; deny = [ "127.0.0.0/8" ]; } );
log = { format = "{format}"; };
"""
HELLO = b"SSH-2.0-x\r\n"
LINE = ('2026-12-01T{time}:35.231Z info connection id=1 client={client} listener=127.0.0.1:1 protocol=ssh service={service} '
        'delivery=connect to=127.0.0.1:2 decided_ms=0.500 bytes_up=10 bytes_down=1000 total_ms={ms}.000 end={end}\n')


def line(time="10:00", client="192.0.2.7:1", service="web", ms=100, end="finished"):
    return LINE.format(time=time, client=client, service=service, ms=ms, end=end)


@pytest.fixture
def place():
    directory = new_directory()
    yield directory
    remove_directory(directory)


def report(*words, text=None, status=0, error=""):
    done = subprocess.run([USHER, "log-report", *words], input=text, capture_output=True, text=True, timeout=slow(30),
                          check=False)
    assert done.stderr == error and done.returncode == status
    return json.loads(done.stdout) if "--json" in words else done.stdout


def by_name(entries):
    return {entry["name"]: entry for entry in entries}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_usher_logs_is_added_up(usher, echo, log_format):
    one = usher(CONFIG, echo=echo.tcp4, format=log_format)
    for _ in range(3):
        with one.connect() as client:
            client.sendall(HELLO)
            assert read_exactly(client, len(HELLO)) == HELLO
    for hello in (client_hello(b"a b\xffc"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        with one.connect() as client:
            client.sendall(hello)
            how_it_ends(client)
    one.stop()
    said = report("--json", text=one.output())
    assert said["connections"] == 5 and said["broken_lines"] == 0 and said["other_lines"] >= 1
    services = by_name(said["services"])
    assert {name: entry["count"] for name, entry in services.items()} == {"echo": 3, "no": 1, "denied": 1}
    assert services["echo"]["bytes_up"] == services["echo"]["bytes_down"] == 3 * len(HELLO)
    assert services["echo"]["decided_s"]["count"] == 3 and services["echo"]["total_s"]["p99"] > 0
    assert {"refused": 1, "rejected": 1}.items() <= {entry["name"]: entry["count"] for entry in said["ends"]}.items()
    assert [entry["name"] for entry in said["rules"]] == ["deny"]
    assert [(entry["name"], entry["count"]) for entry in said["networks"]] == [("127.0.0.0/24", 5)]
    assert sum(entry["count"] for entry in said["times"]) == 5
    table = report(text=one.output())
    assert table.startswith("5 connections, 33 B up, 33 B down, 20") and "client network" in table and "deny" in table


def test_percentiles_are_at_most_a_sixteenth_too_large():
    said = report("--json", text="".join(line(ms=ms) for ms in range(1, 1001)))
    times = said["services"][0]["total_s"]
    for percent, true in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        assert true <= times[percent] <= true * 17 / 16


def test_clients_are_counted_by_network():
    clients = ["192.0.2.7:1", "192.0.2.200:2", "192.0.3.7:1", "[2001:db8:1:2::3]:443", "[2001:db8:1:9::4]:443",
               "[fe80::1%eth0]:1", "-", "unix:", "[::ffff:1.2.3.4]:5", "1.2.3:4", "nonsense"]
    said = report("--json", "--top", "20", text="".join(line(client=client) for client in clients))
    assert {entry["name"]: entry["count"] for entry in said["networks"]} == {
        "192.0.2.0/24": 2, "192.0.3.0/24": 1, "2001:db8:1::/48": 2, "fe80::/48": 1, "::/48": 1, "-": 4}
    assert len(report("--json", "--top", "2", text="".join(line(client=client) for client in clients))["networks"]) == 2
    assert "and 4 more" in report("--top", "2", text="".join(line(client=client) for client in clients))


def test_times_are_in_intervals_that_fit_on_a_screen():
    def names(*times):
        return [entry["name"] for entry in report("--json", text="".join(line(time=time) for time in times))["times"]]

    assert names("10:01", "10:00", "10:01") == ["2026-12-01T10:00", "2026-12-01T10:01"]
    hour = [f"10:{minute:02}" for minute in range(60)]
    assert names(*hour) == [f"2026-12-01T10:{ten}0" for ten in range(6)]
    assert names(*(f"{hour:02}:{minute}0" for hour in range(24) for minute in range(6))) == [
        f"2026-12-01T{hour:02}" for hour in range(24)]


def test_files_may_be_compressed_and_several(place):
    plain, packed = os.path.join(place, "log"), os.path.join(place, "log.1.gz")
    with open(plain, "w", encoding="ascii") as file:
        file.write(line() * 2 + line().rstrip("\n"))
    with open(packed, "wb") as file:
        file.write(gzip.compress((line(end="client-reset") * 4).encode()) + gzip.compress(line().encode()))
    assert report("--json", plain, packed)["connections"] == 8
    with open(packed, "rb") as file:
        done = subprocess.run([USHER, "log-report", "--json", plain, "-"], stdin=file, capture_output=True, check=True)
    assert json.loads(done.stdout)["connections"] == 8


def test_a_file_that_is_cut_is_reported_as_far_as_it_goes(place):
    packed = os.path.join(place, "log.gz")
    data = gzip.compress("".join(line(ms=ms) for ms in range(20000)).encode())
    with open(packed, "wb") as file:
        file.write(data[:len(data) // 2])
    said = report("--json", packed, status=1, error=f"usher: {packed}: it ends in the middle of what gzip wrote\n")
    assert 0 < said["connections"] < 20000
    said = report("--json", os.path.join(place, "none"), packed + "x", status=1,
                  error=f"usher: {place}/none: No such file or directory\nusher: {packed}x: No such file or directory\n")
    assert said["connections"] == 0
    assert report("--json", place, status=1, error=f"usher: {place}: Is a directory\n")["connections"] == 0


def test_what_syslog_and_the_journal_put_in_front_is_passed_over():
    said = line().split(" ", 1)[1]
    text = (f"Dec  1 10:00:00 host usher[123]: {said}2026-12-01T10:00:00+0100 host usher[1]: {said}"
            'Dec  1 10:00:00 host usher[1]: {"level":"info","event":"connection","service":"web","end":"finished"}\n'
            '{"level": "info", "event": "connection", "service": "web", "end": "finished", "id": 5}\n')
    report_of = report("--json", text=text)
    assert report_of["connections"] == 4 and report_of["services"][0]["count"] == 4
    assert [entry["name"] for entry in report_of["times"]] == ["2026-12-01T10:00"]


def test_lines_that_are_none_of_its_own_are_counted_and_do_no_harm():
    text = ("\n".join(["", "x", "{", "{}", '{"event":"connection"', '{"event":"connection","total_ms":x}', "\x1b[2J", "\x00\xff",
                       "2026-12-01T10:00:00.000Z notice a connection id=1 end=forged", line().rstrip()[:-20] + ' sni="cut',
                       "a" * 600000, line(service="\x1b[2Jx").rstrip()]) + "\n")
    done = subprocess.run([USHER, "log-report"], input=text.encode("latin-1"), capture_output=True, check=True)
    assert done.stdout.startswith(b"1 connections") and b"3 broken ones" in done.stdout and b"?[2Jx" in done.stdout
    assert b"forged" not in done.stdout and b"\x1b" not in done.stdout


def test_a_million_lines_are_read_in_a_stream():
    """How fast is measured by make bench; that its memory does not grow with the log, here."""
    piece = "".join(line(time=f"{i % 24:02}:{i % 60:02}", client=f"10.{i % 200}.{i % 7}.1:5", ms=i) for i in range(10000))
    reading = subprocess.Popen(["sh", "-c", f"ulimit -v 200000; exec {USHER} log-report --json"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    for _ in range(100):
        reading.stdin.write(piece)
    said, _ = reading.communicate(timeout=slow(60))
    assert reading.returncode == 0 and json.loads(said)["connections"] == 1000000
    assert len(json.loads(said)["networks"]) == 10


def test_wrong_use_is_told():
    for words in (["--top", "x"], ["--top", "-1"], ["--other"]):
        done = subprocess.run([USHER, "log-report", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr
