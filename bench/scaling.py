"""What a second worker is worth. On as many cores as there are, nothing pinned: the second worker takes what the load
generator and the server leave."""

import figures
import processes
from figures import CLIENTS, Column, Measurement

NAMES = "usher", "haproxy", "nginx"


def measure_scaling(bench, contender, _target):
    cores = bench.ground.cores
    rates, loads = [], []
    with cores.anywhere():
        for workers in 1, 2:
            with bench.ground.running(contender, {"WORKERS": str(workers)}) as target:
                result = bench.connect(target, CLIENTS)
                figures.check(result)
                rates.append(result["per_second"])
                loads = sorted(processes.cpu_seconds_of_each(target.pid))
    values = {"one_worker": rates[0], "two_workers": rates[1], "two_to_one": rates[1] / rates[0]}
    if contender.name == "usher":
        values["busier_worker"] = loads[-1] / (loads[-1] + loads[-2])
    return values


MEASUREMENTS = (
    Measurement("scaling", "New connections by workers (threads of HAProxy), nothing pinned", measure_scaling, (
        Column("one_worker", "1 worker", "{:,.0f}", "more"),
        Column("two_workers", "2 workers", "{:,.0f}", "more"),
        Column("two_to_one", "times", "{:.2f}", "more"),
        Column("busier_worker", "CPU of the busier of 2", "{:.0%}", "less"),
    ), lambda contender: contender.name in NAMES, starts=True),
)
