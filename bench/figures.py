"""The measurements: each drives one target for a while and returns what it found as {column: value}.

A figure is kept only if every answer was right; otherwise processes.Failed says what was wrong.
"""

import collections.abc
import contextlib
import dataclasses
import json
import pathlib
import socket
import subprocess
import time

import contenders
import processes

CLIENTS = 64             # at once, for new connections and for kept ones
IDLE_CONNECTIONS = 5000
SETTLE_SECONDS = 0.3     # for what a mux does after the last connection, before its cost is read


@dataclasses.dataclass(frozen=True)
class Column:
    """One figure of the table; `better` is the side that wins."""
    key: str
    title: str
    form: str
    better: str


COLUMNS = (
    Column("conn_per_s", "new conn/s", "{:,.0f}", "more"),
    Column("conn_p99_us", "p99 us", "{:,.0f}", "less"),
    Column("cpu_per_10k_conn", "CPU s/10k conn", "{:.3f}", "less"),
    Column("req_per_s", "kept req/s", "{:,.0f}", "more"),
    Column("req_p99_us", "p99 us", "{:,.0f}", "less"),
    Column("cpu_per_10k_req", "CPU s/10k req", "{:.4f}", "less"),
    Column("gb_per_s", "GB/s", "{:.2f}", "more"),
    Column("cpu_per_gb", "CPU s/GB", "{:.3f}", "less"),
    Column("idle_kb", "idle KB/conn", "{:.2f}", "less"),
)


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all measurements need."""
    ground: contenders.Ground
    tools: pathlib.Path
    seconds: int

    @contextlib.contextmanager
    def started(self, *argv):
        """A load generator on its core, ended on the way out if it has not ended by itself."""
        with self.ground.cores.inherited(self.ground.cores.load):
            process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                processes.stop(process)

    def load(self, *argv):
        """Runs a load generator to its end and returns what it printed last, a line of JSON."""
        name = pathlib.Path(argv[0]).name
        with self.started(*argv) as process:
            try:
                output, _ = process.communicate(timeout=self.seconds + 30)
            except subprocess.TimeoutExpired as error:
                raise processes.Failed(f"{name} did not end") from error
        if process.returncode != 0:
            raise processes.Failed(f"{name} ended with status {process.returncode}")
        return json.loads(output.strip().splitlines()[-1])

    def generator(self, name, target, *arguments):
        return self.load(self.tools / name, target.port, self.seconds * 1000, *arguments)


def check(result, values=None):
    if result["errors"]:
        raise processes.Failed(f"{result['errors']} errors, the first: {result['first_error']}", values)
    return values


class Cost:
    """CPU seconds that the mux uses between the beginning and the end of a with block."""

    def __init__(self, target):
        self.pid = target.pid

    def __enter__(self):
        self.before = processes.cpu_seconds(self.pid) if self.pid else 0.0
        return self

    def __exit__(self, *_):
        if self.pid:
            time.sleep(SETTLE_SECONDS)
        self.seconds = processes.cpu_seconds(self.pid) - self.before if self.pid else 0.0

    def per(self, count, unit):
        return self.seconds * unit / count if count else 0.0


def measure_connections(bench, _contender, target):
    with Cost(target) as cost:
        result = bench.generator("connload", target, CLIENTS, "/small", contenders.BODY)
    values = {"conn_per_s": result["per_second"], "conn_p99_us": result["p99_us"],
              "cpu_per_10k_conn": cost.per(result["connections"], 10_000)}
    return check(result, values)


def measure_requests(bench, _contender, target):
    with Cost(target) as cost:
        result = bench.load("/usr/bin/wrk", "-t1", f"-c{CLIENTS}", f"-d{bench.seconds}s",
                            "-s", contenders.HERE / "wrk.lua", f"http://127.0.0.1:{target.port}/small")
    values = {"req_per_s": result["requests"] / result["seconds"], "req_p99_us": result["p99_us"],
              "cpu_per_10k_req": cost.per(result["requests"], 10_000)}
    return check_wrk(result, answer_bytes(target.port), values)


def answer_bytes(port):
    """The size of one answer, header and body, read from a connection of our own."""
    request = b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        answer = b""
        while not answer.endswith(contenders.BODY.encode()):
            piece = client.recv(4096)
            if not piece:
                raise processes.Failed("an answer that ended too early")
            answer += piece
    return len(answer)


def check_wrk(result, answer_len, values):
    """wrk compares no bodies. All answers have one size, so their sum tells whether one was cut."""
    if result["bad_status"] or result["socket_errors"]:
        reason = f"{result['bad_status']} answers that are not 200, {result['socket_errors']} socket errors"
        raise processes.Failed(reason, values)
    surplus = result["bytes"] - result["requests"] * answer_len
    if not result["requests"] or not 0 <= surplus <= CLIENTS * answer_len:
        reason = f"{result['bytes']} bytes in {result['requests']} answers of {answer_len}"
        raise processes.Failed(reason, values)
    return values


def measure_bulk(bench, _contender, target):
    with Cost(target) as cost:
        result = bench.generator("bulk", target, 1, "/large", bench.ground.pattern_file)
    values = {"gb_per_s": result["bytes"] / result["seconds"] / 1e9,
              "cpu_per_gb": cost.per(result["bytes"], 1e9)}
    return check(result, values)


def measure_idle(bench, contender, target):
    if target.pid is None:
        return {"idle_kb": 0.0}
    count = min(IDLE_CONNECTIONS, contender.idle_max)
    before = processes.memory_bytes(target.pid)
    with idle_connections(bench, target, count):
        time.sleep(SETTLE_SECONDS)
        after = processes.memory_bytes(target.pid)
    return {"idle_kb": (after - before) / 1024 / count}


@contextlib.contextmanager
def idle_connections(bench, target, count):
    """Connections that were used once and are then left alone; all must still stand at the end."""
    arguments = (target.port, count, "/small", contenders.BODY)
    with bench.started(bench.tools / "idle", *arguments) as process:
        expect_open(process.stdout.readline(), count)
        yield
        process.stdin.close()
        expect_open(process.stdout.readline(), count)
        process.wait()


def expect_open(line, count):
    result = json.loads(line or '{"errors": 1, "first_error": "idle ended"}')
    check(result)
    if result["open"] != count:
        raise processes.Failed(f"{result['open']} of {count} idle connections stand")


@dataclasses.dataclass(frozen=True)
class Measurement:
    name: str
    take: collections.abc.Callable
    keys: tuple  # columns that it fills


MEASUREMENTS = (
    Measurement("new connections", measure_connections, ("conn_per_s", "conn_p99_us", "cpu_per_10k_conn")),
    Measurement("requests", measure_requests, ("req_per_s", "req_p99_us", "cpu_per_10k_req")),
    Measurement("bulk", measure_bulk, ("gb_per_s", "cpu_per_gb")),
    Measurement("idle connections", measure_idle, ("idle_kb",)),
)
