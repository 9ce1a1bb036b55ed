"""Connections that stand: what an idle one keeps in memory, and how long a new one takes among 9,000 of them, or beside four
streams of bulk."""

import contextlib
import json
import time

import contenders
import figures
import processes
from figures import Column, Measurement

STEPS = 1000, 5000, 9000
FEW_CLIENTS = 4          # at once: latency is asked for, not throughput
STREAMS = 4
WARM_SECONDS = 0.3       # of bulk, before anyone connects


class Idle:
    """Connections that were used once and are then left alone."""

    def __init__(self, process):
        self.process = process

    def stand(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        expect_open(self.process.stdout.readline(), count)
        time.sleep(figures.SETTLE_SECONDS)

    def end(self, count):
        """All must still be there."""
        self.process.stdin.close()
        expect_open(self.process.stdout.readline(), count)
        self.process.wait()


def expect_open(line, count):
    result = json.loads(line or '{"errors": 1, "first_error": "idle ended"}')
    figures.check(result)
    if result["open"] != count:
        raise processes.Failed(f"{result['open']} of {count} idle connections stand")


def slope(points):
    """Least squares: y for one x more."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def steps_of(contender):
    """For a contender that holds fewer connections, the same fractions of its most."""
    return [min(count, contender.idle_max * count // STEPS[-1]) for count in STEPS]


def latency(bench, target):
    result = bench.connect(target, FEW_CLIENTS, seconds=bench.seconds / 2)
    figures.check(result)
    return result["p99_us"]


def measure_idle(bench, contender, target):
    steps = steps_of(contender)
    process_points, kernel_points = [], []
    alone = latency(bench, target)
    with bench.started(bench.tools / "idle", target.port, steps[-1], "/small", contenders.BODY) as process:
        idle = Idle(process)
        for count in steps:
            idle.stand(count)
            process_points.append((count, processes.memory_bytes(target.pid) if target.pid else 0))
            kernel_points.append((count, processes.kernel_bytes()))
        among = latency(bench, target)
        idle.end(steps[-1])
    return {"idle_kb": slope(process_points) / 1024, "idle_kernel_kb": slope(kernel_points) / 1024,
            "alone_p99_us": alone, "among_p99_us": among, "among_times": among / alone}


def measure_beside_bulk(bench, _contender, target):
    seconds = bench.seconds / 2
    milliseconds = int((seconds + WARM_SECONDS) * 1000)
    argv = bench.tools / "bulk", target.port, milliseconds, STREAMS, "/large", bench.ground.pattern_file
    with contextlib.ExitStack() as stack:
        bulk = stack.enter_context(bench.started(*argv))
        time.sleep(WARM_SECONDS)
        beside = latency(bench, target)
        figures.check(bench.finish(bulk))
    return {"beside_p99_us": beside}


MEASUREMENTS = (
    Measurement("idle", "Idle connections: slope over 1,000, 5,000 and 9,000; a new one among 9,000 (4 clients)", measure_idle, (
        Column("idle_kb", "process KB/conn", "{:.2f}", "less"),
        Column("idle_kernel_kb", "kernel KB/conn, ends included", "{:.1f}", "less"),
        Column("alone_p99_us", "p99 us with none", "{:,.0f}", "less"),
        Column("among_p99_us", "p99 us among 9,000", "{:,.0f}", "less"),
        Column("among_times", "times", "{:.2f}", "less"),
    )),
    Measurement("beside", "A new connection beside four streams of bulk (4 clients)", measure_beside_bulk, (
        Column("beside_p99_us", "p99 us", "{:,.0f}", "less"),
    )),
)
