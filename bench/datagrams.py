"""Datagrams through a contender: ping-pong, bulk, new flows, many flows, and what a flow keeps in memory.

Mux, server and load generator share one core, so that the mux finds work whenever it gets its turn, as one does that is busy.
The contenders are those of this name for streams, set up for UDP, before a server of their own.
"""

import contextlib
import dataclasses
import json
import socket

import contenders
import figures
import processes
from figures import Column, Cost, Measurement
from standing import slope

FLOWS = 64
BULK_FLOWS = 8
IN_TURN = 10              # datagrams on the way, of all flows together
FEW, MANY = 10, 9500      # flows
STEPS = 1000, 5000, 9000  # flows, for memory
LOST_MOST = 0.05          # of what was sent: more spoils the rate
PING = b"pingpong" + bytes(92)

WAYS = {  # how the server sends, how the client reads
    "joined": ("joined", "joined", "sent joined (GSO), read joined (GRO)"),
    "plain": ("joined", "singles", "sent joined (GSO), read singly"),
    "singles": ("singles", "singles", "sent and read singly"),
}

TEMPLATES = {"direct": "", "usher": "usher-datagrams.conf.in", "nginx": "nginx-datagrams.conf.in",
             "sslh-ev": "sslh-datagrams.cfg.in", "bare": ""}
BARE_COMMAND = ("@BUILD@/bench/bare_datagrams", "@PORT@", "@SERVER_PORT@", "@ENDS@")
ONE_ANSWER = "proxy_requests 1; proxy_responses 1;"


def takes_datagrams(contender):
    return contender.name in TEMPLATES


def ends_with_the_answer(contender):
    """sslh keeps each flow until its timeout."""
    return contender.name in TEMPLATES and contender.name != "sslh-ev"


def echoes(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect(("127.0.0.1", port))
        try:
            client.send(PING)
            return client.recv(len(PING) + 1) == PING
        except OSError:
            return False


@contextlib.contextmanager
def running(bench, contender, ends=""):
    """The server for datagrams, and the contender before it, as a Target."""
    ground, port = bench.ground, processes.free_port(socket.SOCK_DGRAM)
    with ground.started("flowserver", [str(bench.tools / "flowserver"), str(port)], ground.cores.server, port, echoes):
        if not contender.command:
            yield contenders.Target(port, None)
            return
        command = BARE_COMMAND if contender.name == "bare" else contender.command
        changed = dataclasses.replace(contender, command=command, template=TEMPLATES[contender.name])
        values = {"SERVER_PORT": str(port), "ENDS": ends, "PORT": str(processes.free_port(socket.SOCK_DGRAM))}
        with ground.running(changed, values, echoes) as target:
            yield target


class Load:
    """A load generator: its flows are open, and it waits to begin."""

    def __init__(self, process):
        self.process = process
        figures.check(self.read())

    def read(self):
        """What it printed."""
        line = self.process.stdout.readline()
        return json.loads(line or '{"errors": 1, "first_error": "the load generator ended"}')

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()


@contextlib.contextmanager
def opened(bench, target, name, *arguments):
    with bench.started(bench.tools / name, target.port, int(bench.seconds * 1000), *arguments) as process:
        yield Load(process)


def check(result, count, values):
    """A few losses are no error."""
    if lost_part(result, count) > LOST_MOST:
        raise processes.Failed(f"{result['lost']} datagrams lost beside {count}", values)
    return values


def lost_part(result, count):
    return result["lost"] / (result["lost"] + count) if count else 1.0


def cost_of(bench, contender, name, *arguments, ends=""):
    """(what the load generator found, the cost of it)"""
    with running(bench, contender, ends) as target, opened(bench, target, name, *arguments) as load:
        with Cost(target) as cost:
            result = load.run()
    figures.check(result)
    return result, cost


def exchange_values(result, cost, key):
    mux, machine = cost.per(result["answers"], 1e6)
    return {f"{key}_per_s": result["answers"] / result["seconds"], f"{key}_cpu": mux, f"{key}_machine": machine,
            f"{key}_lost": lost_part(result, result["answers"])}


def measure_ping(bench, contender, in_flight, key):
    result, cost = cost_of(bench, contender, "flowload", FLOWS, in_flight, "each", "ping")
    return check(result, result["answers"], exchange_values(result, cost, key))


def measure_new_flows(bench, contender):
    """Each datagram comes from another port than the 9,499 before it."""
    result, cost = cost_of(bench, contender, "flowload", MANY, FLOWS, "turn", "dns", ends=ONE_ANSWER)
    return check(result, result["answers"], exchange_values(result, cost, "flow"))


def measure_bulk(bench, contender, way):
    result, cost = cost_of(bench, contender, "flowbulk", BULK_FLOWS, *WAYS[way][:2])
    mux, machine = cost.per(result["bytes"], 1e9)
    values = {f"bulk_{way}_per_s": result["bytes"] / result["seconds"] / 1e9, f"bulk_{way}_cpu": mux,
              f"bulk_{way}_machine": machine, f"bulk_{way}_lost": lost_part(result, result["datagrams"])}
    return check(result, result["datagrams"], values)


def measure_many(bench, contender):
    """The same number on the way, each time of the next of few flows or of many."""
    values = {}
    for name, flows in ("few", FEW), ("many", MANY):
        result, cost = cost_of(bench, contender, "flowload", flows, IN_TURN, "turn", "ping")
        check(result, result["answers"], None)
        values[f"{name}_cpu"] = cost.per(result["answers"], 1e6)[0]
    if values["few_cpu"]:
        values["many_to_few"] = values["many_cpu"] / values["few_cpu"]
    return values


def measure_memory(bench, contender):
    """Flow `n` has the same address and port with each load generator, and is still known."""
    process_points, kernel_points = [], []
    with running(bench, contender) as target:
        for count in STEPS:
            with opened(bench, target, "flowload", count, 1, "each", "ping"):
                process_points.append((count, processes.memory_bytes(target.pid) if target.pid else 0))
                kernel_points.append((count, processes.kernel_bytes("Slab")))
    return {"flow_kb": slope(process_points) / 1024, "flow_kernel_kb": slope(kernel_points) / 1024}


def memory_of_a_flow(results, name):
    """Process and kernel, without the ends', which are there without a mux too."""
    parts = [results.valid(name, "flow_kb"), results.valid(name, "flow_kernel_kb"), results.valid("direct", "flow_kernel_kb")]
    return None if None in parts else parts[0] + parts[1] - parts[2]


def measurement(title, take, columns, of=takes_datagrams, together=True):
    def taken(bench, contender, _target):
        with bench.ground.cores.together() if together else contextlib.nullcontext():
            return take(bench, contender)
    return Measurement("datagrams", title, taken, columns, of, starts=True)


def exchange_columns(key, what):
    return (
        Column(f"{key}_per_s", f"{what}/s", "{:,.0f}", "more"),
        Column(f"{key}_cpu", "mux CPU us each", "{:.2f}", "less"),
        Column(f"{key}_machine", "all CPU us each", "{:.2f}", "less"),
        Column(f"{key}_lost", "lost", "{:.2%}", "less"),
    )


def ping_measurement(in_flight, together=True):
    key = f"ping_{in_flight}" if together else f"apart_{in_flight}"
    where = "" if together else "; the mux as with streams, on a core of its own"
    return measurement(f"Datagrams of 100 bytes, there and back, {FLOWS} flows, {in_flight} in flight on each{where}",
                       lambda bench, contender: measure_ping(bench, contender, in_flight, key),
                       exchange_columns(key, "round trips"), together=together)


def bulk_measurement(way):
    return measurement(f"Bulk in datagrams of 1,200 bytes, {WAYS[way][2]}",
                       lambda bench, contender: measure_bulk(bench, contender, way), (
                           Column(f"bulk_{way}_per_s", "GB/s", "{:.3f}", "more"),
                           Column(f"bulk_{way}_cpu", "mux CPU s/GB", "{:.3f}", "less"),
                           Column(f"bulk_{way}_machine", "all CPU s/GB", "{:.3f}", "less"),
                           Column(f"bulk_{way}_lost", "lost", "{:.2%}", "less"),
                       ))


MEASUREMENTS = (
    ping_measurement(1),
    ping_measurement(8),
    ping_measurement(1, together=False),
    ping_measurement(8, together=False),
    *(bulk_measurement(way) for way in WAYS),
    measurement("New flows: one datagram each way, 64 at a time", measure_new_flows, exchange_columns("flow", "flows"),
                ends_with_the_answer),
    measurement(f"Datagrams of the next flow in turn, {IN_TURN} on the way, {FEW} flows and {MANY:,}", measure_many, (
        Column("few_cpu", f"mux CPU us, {FEW} flows", "{:.2f}", "less"),
        Column("many_cpu", f"mux CPU us, {MANY:,} flows", "{:.2f}", "less"),
        Column("many_to_few", "times", "{:.2f}", "less"),
    )),
    measurement("Memory of flows: slope over 1,000, 5,000 and 9,000", measure_memory, (
        Column("flow_kb", "process KB/flow", "{:.2f}", "less"),
        Column("flow_kernel_kb", "kernel KB/flow, ends included", "{:.2f}", "less"),
    )),
)
