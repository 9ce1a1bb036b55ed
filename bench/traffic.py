"""Traffic through a contender: new connections, requests on kept ones, bulk."""

import socket

import contenders
import figures
import processes
from figures import CLIENTS, Column, Cost, Measurement


def measure_connections(bench, _contender, target):
    with Cost(target) as cost:
        result = bench.connect(target, CLIENTS)
    mux, machine = cost.per(result["connections"], 10_000)
    values = {"conn_per_s": result["per_second"], "conn_p50_us": result["p50_us"], "conn_p99_us": result["p99_us"],
              "conn_cpu": mux, "conn_machine": machine}
    return figures.check(result, values)


def measure_requests(bench, _contender, target):
    seconds = max(1, round(bench.seconds))  # wrk knows whole ones only
    with Cost(target) as cost:
        result = bench.load("/usr/bin/wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s",
                            "-s", contenders.HERE / "wrk.lua", f"http://127.0.0.1:{target.port}/small")
    mux, machine = cost.per(result["requests"], 10_000)
    values = {"req_per_s": result["requests"] / result["seconds"], "req_p50_us": result["p50_us"],
              "req_p99_us": result["p99_us"], "req_cpu": mux, "req_machine": machine}
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


def measure_bulk(bench, target, streams, suffix):
    with Cost(target) as cost:
        result = bench.generator("bulk", target, streams, "/large", bench.ground.pattern_file)
    mux, machine = cost.per(result["bytes"], 1e9)
    values = {"gb_per_s" + suffix: result["bytes"] / result["seconds"] / 1e9,
              "gb_cpu" + suffix: mux, "gb_machine" + suffix: machine}
    return figures.check(result, values)


def bulk_columns(streams, suffix):
    return (
        Column("gb_per_s" + suffix, f"GB/s, {streams}", "{:.2f}", "more"),
        Column("gb_cpu" + suffix, "mux CPU s/GB", "{:.3f}", "less"),
        Column("gb_machine" + suffix, "all CPU s/GB", "{:.3f}", "less"),
    )


MEASUREMENTS = (
    Measurement("connections", "New connections, 64 clients at a time", measure_connections, (
        Column("conn_per_s", "conn/s", "{:,.0f}", "more"),
        Column("conn_p50_us", "p50 us", "{:,.0f}", "less"),
        Column("conn_p99_us", "p99 us", "{:,.0f}", "less"),
        Column("conn_cpu", "mux CPU s/10k", "{:.3f}", "less"),
        Column("conn_machine", "all CPU s/10k", "{:.3f}", "less"),
    )),
    Measurement("requests", "Requests on 64 kept connections", measure_requests, (
        Column("req_per_s", "req/s", "{:,.0f}", "more"),
        Column("req_p50_us", "p50 us", "{:,.0f}", "less"),
        Column("req_p99_us", "p99 us", "{:,.0f}", "less"),
        Column("req_cpu", "mux CPU s/10k", "{:.4f}", "less"),
        Column("req_machine", "all CPU s/10k", "{:.4f}", "less"),
    )),
    Measurement("bulk", "Bulk, one stream", lambda bench, _, target: measure_bulk(bench, target, 1, ""),
                bulk_columns("1 stream", "")),
    Measurement("bulk4", "Bulk, four streams", lambda bench, _, target: measure_bulk(bench, target, 4, "_4"),
                bulk_columns("4 streams", "_4")),
)
