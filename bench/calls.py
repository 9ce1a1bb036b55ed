"""System calls for one new connection, counted by strace -c over all processes of a mux. Exact, and the same on every machine;
how many of them are shared by several connections (epoll_wait) depends on how many come at once."""

import signal
import subprocess
import time

import figures
import processes

CLIENTS = 16
SECONDS = 0.7
ATTACH_SECONDS = 0.5


def counted(lines):
    """{name: calls} from a table of strace -c: % time, seconds, usecs/call, calls, errors if any, name."""
    calls = {}
    for line in lines:
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            calls[fields[-1]] = int(fields[3])
    return calls


def count_calls(bench, contender):
    """{name: calls a connection}, those that happen at least once in a hundred connections."""
    table = bench.ground.directory / "strace"
    with bench.ground.running(contender) as target:
        argv = ["strace", "-f", "-qq", "-c", "-o", str(table)]
        for pid in processes.tree(target.pid):
            argv += ["-p", str(pid)]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as tracer:
            time.sleep(ATTACH_SECONDS)
            try:
                result = bench.connect(target, CLIENTS, seconds=SECONDS)
                time.sleep(figures.SETTLE_SECONDS)
            finally:
                tracer.send_signal(signal.SIGINT)
    calls = counted(table.read_text().splitlines())
    each = {name: count / result["connections"] for name, count in calls.items()}
    return {name: count for name, count in sorted(each.items(), key=lambda item: -item[1]) if count >= 0.01}


def count_all(bench, chosen):
    found = {}
    for contender in chosen:
        if contender.command:
            try:
                found[contender.name] = count_calls(bench, contender)
            except (processes.Failed, OSError) as failure:
                found[contender.name] = {}
                print(f"bench: system calls of {contender.name}: {failure}")
    return found


def as_text(found):
    lines = ["System calls for a new connection (strace -c, 16 clients at a time):", ""]
    for name, calls in found.items():
        each = ", ".join(f"{call} {count:.2f}".replace(".00", "") for call, count in calls.items())
        lines.append(f"  {name}: {sum(calls.values()):.1f} ({each or 'could not be counted'})")
    return "\n".join(lines) + "\n"
