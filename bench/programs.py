"""Servers that are run for each connection (exec): how many a second, beside a loop that does nothing but posix_spawn()."""

import contenders
import figures
from figures import Column, Cost, Measurement

AT_A_TIME = 16

SPAWNER = contenders.Contender("usher-exec", "usher, a small static program for each connection",
                               contenders.USHER_COMMAND, "usher-exec.conf.in")


def measure_programs(bench, _contender, _target):
    """usher's rate is that of whole connections: accepted, decided, a program started, its answer read to the end."""
    with bench.ground.cores.anywhere():
        bare = bench.load(bench.tools / "spawnload", int(bench.seconds * 1000), AT_A_TIME, bench.tools / "answer", contenders.BODY)
        figures.check(bare)
        with bench.ground.running(SPAWNER) as target, Cost(target) as cost:
            result = bench.connect(target, AT_A_TIME)
    values = {"spawned_bare": bare["per_second"], "spawned": result["per_second"], "spawned_p99_us": result["p99_us"],
              "spawned_part": result["per_second"] / bare["per_second"],
              "spawned_cpu": cost.per(result["connections"], 1000)[0]}
    return figures.check(result, values)


MEASUREMENTS = (
    Measurement("programs", "A program for each connection, 16 at a time, nothing pinned", measure_programs, (
        Column("spawned", "conn/s", "{:,.0f}", "more"),
        Column("spawned_p99_us", "p99 us", "{:,.0f}", "less"),
        Column("spawned_bare", "posix_spawn() alone/s", "{:,.0f}", "more"),
        Column("spawned_part", "of that", "{:.2f}", "more"),
        Column("spawned_cpu", "CPU s/1,000, programs included", "{:.3f}", "less"),
    ), lambda contender: contender.name == "usher", starts=True),
)
