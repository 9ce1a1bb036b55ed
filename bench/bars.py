"""What is wanted of usher beside its peers, and whether this run shows it. A bar is a ratio of two medians of one run."""

import dataclasses

import datagrams
import decisions
import report

PEERS = "sslh", "sslh-ev", "haproxy", "haproxy-splice", "nginx"
COPYING = "haproxy", "nginx"
DATAGRAMS = (  # key, what, most of nginx's CPU time, least of its rate
    ("ping_1", "datagrams, one in flight", 0.5, 1.3),
    ("ping_8", "datagrams, 8 in flight", 0.25, 2.5),
    ("bulk_joined", "bulk in datagrams, sent and read joined", 0.08, 6),
    ("bulk_plain", "bulk in datagrams, sent joined, read singly", 0.12, 5),
    ("bulk_singles", "bulk in datagrams, sent and read singly", 0.2, 2.5),
    ("flow", "a new flow of datagrams", 0.5, None),
)


@dataclasses.dataclass(frozen=True)
class Bar:
    what: str
    wanted: str
    found: float | None  # None: not measured, or not validly
    held: bool | None


def best(results, names, key, least):
    values = [value for value in (results.valid(name, key) for name in names) if value]
    return (min(values) if least else max(values)) if values else None


def at_most(results, what, name, key, limit, others):
    """Ours, of the least of the others'."""
    return judged(what, results.valid(name, key), best(results, others, key, True), f"<= {limit:g}", lambda found: found <= limit)


def at_least(results, what, name, key, limit, others):
    """Ours, of the most of the others'."""
    return judged(what, results.valid(name, key), best(results, others, key, False), f">= {limit:g}", lambda found: found >= limit)


def judged(what, ours, theirs, wanted, holds):
    found = ours / theirs if ours is not None and theirs else None
    return Bar(what, wanted, found, None if found is None else holds(found))


def absolute(what, value, limit):
    return Bar(what, f"<= {limit:g}", value, None if value is None else value <= limit)


def judge(results, decided):
    haproxy, direct = ("haproxy",), ("direct",)
    among = results.valid("usher", "among_times")
    ratios = decisions.decision_ratios(decided).values()
    return [
        at_least(results, "relay, new connections/s, of the best peer's", "usher", "conn_per_s", 1.1, PEERS),
        at_most(results, "relay, CPU a connection, of the best peer's", "usher", "conn_cpu", 0.85, PEERS),
        at_most(results, "relay to a UNIX socket, CPU a connection, of the best peer's", "usher-unix", "conn_cpu", 0.65, PEERS),
        at_most(results, "relay, CPU a request, of the best peer's", "usher", "req_cpu", 1.0, PEERS),
        at_most(results, "relay, CPU a request, of HAProxy's", "usher", "req_cpu", 0.85, haproxy),
        at_most(results, "relay, p99 of requests, of the best peer's", "usher", "req_p99_us", 1.0, PEERS),
        at_least(results, "relay, GB/s, of the better of HAProxy's and nginx's", "usher", "gb_per_s", 2.5, COPYING),
        at_most(results, "relay, CPU a GB, of the better of HAProxy's and nginx's", "usher", "gb_cpu", 0.25, COPYING),
        at_most(results, "relay, CPU a GB, of HAProxy's with splice", "usher", "gb_cpu", 1.0, ("haproxy-splice",)),
        at_most(results, "handover, CPU a connection, of HAProxy's", "usher-handover", "conn_cpu", 0.3, haproxy),
        at_least(results, "handover, requests/s, of no mux", "usher-handover", "req_per_s", 0.95, direct),
        at_least(results, "handover, GB/s, of no mux", "usher-handover", "gb_per_s", 0.95, direct),
        at_least(results, "handover, new connections/s, of no mux", "usher-handover", "conn_per_s", 0.75, direct),
        absolute("memory, KB of the processes an idle connection", results.valid("usher", "idle_kb"), 1.5),
        absolute("a decision among 10,000 services, of one among 10", max(ratios, default=None), decisions.DECISION_LIMIT),
        absolute("p99 of a new connection among 9,000 idle ones, of that among none", among, 1.2),
    ]


def judge_datagrams(results, quic):
    """All beside nginx stream."""
    nginx = ("nginx",)
    bars = []
    for key, what, cpu, rate in DATAGRAMS:
        bars.append(at_most(results, f"{what}: CPU, of nginx's", "usher", key + "_cpu", cpu, nginx))
        if rate:
            bars.append(at_least(results, f"{what}: rate, of nginx's", "usher", key + "_per_s", rate, nginx))
    slowest = max((line["ns"] for line in quic), default=None)
    return bars + [
        absolute("CPU of a datagram among 9,500 flows, of one among 10", results.valid("usher", "many_to_few"), 1.1),
        absolute("memory, KB of the processes and the kernel a flow", datagrams.memory_of_a_flow(results, "usher"), 3.5),
        absolute("a decision by the server name of a QUIC hello, us", slowest and slowest / 1000, decisions.QUIC_LIMIT / 1000),
    ]


def as_text(judged):
    rows = []
    for bar in judged:
        if bar.found is not None:
            rows.append([bar.what, bar.wanted, f"{bar.found:.2f}", "yes" if bar.held else "NO"])
    return report.table("What is wanted, and what this run shows:", ["bar", "wanted", "found", "held"], rows) if rows else ""
