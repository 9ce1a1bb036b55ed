#!/usr/bin/python3
"""How many identifications a second external identifiers make: a kept process (mode stream) beside a
process each (once).

    bench/identifiers.py

The programs are the samples in examples/. Every client sends a line that only the identifiers know; usher then
closes orderly the clients that were named and resets the others, so that every identification is checked, and its log must
have no complaint.

A connection costs something too, the more of it the faster the identifier: "none" is what connections alone
make, told by a string. So there are two figures: with one identifier a connection, and with 8 that are asked one
after the other, the last of which knows the name. The second says what an identification costs. All take turns;
printed are medians of the rounds. Exit status: 0, 1 when in the second figure stream is less than 20 times
faster, or something was not as it should be, 2 when something is not there.

Environment: BUILD (build), ROUNDS (5), SECONDS a measurement (2), CLIENTS at a time (32).
"""

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import processes

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "2"))
CLIENTS = int(os.environ.get("CLIENTS", "32"))
MANY = 8
LEAST_RATIO = 20
NEEDED = "src/usher", "bench/identload", "examples/identifier-once", "examples/identifier-stream"

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  decide_timeout = 60.0;
log = {{ level = "warning"; }};
{names}
services = ( {{ name = "named"; match = "mail"; reject = "close"; }}, {{ name = "not"; reject = "reset"; }} );
on_unknown = "not";  on_silence = "not";
"""


def measure(port, seconds, clients=CLIENTS):
    """Connections a second; identload ends with an error where a client was not named."""
    command = [BUILD / "bench/identload", str(port), str(int(seconds * 1000)), str(clients)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def names_text(folder, mode, asked):
    """Where the name comes from. The samples say "smtp", which nothing asks for; the last one says "mail"."""
    if mode == "none":
        return 'protocols = ( { name = "mail"; string = "EHLO "; } );'
    sample = (BUILD / "examples" / f"identifier-{mode}").read_bytes()
    programs = folder / mode, folder / f"{mode}-last"
    for program, text in zip(programs, (sample, sample.replace(b"smtp\0", b"mail\0"))):
        if not program.exists():
            program.write_bytes(text)
            program.chmod(0o755)
    chain = [programs[0]] * (asked - 1) + [programs[1]]
    return "identifiers = ( {} );".format(
        ", ".join(f'{{ program = [ "{program}" ]; mode = "{mode}"; timeout = 60.0; }}' for program in chain)
    )


@contextlib.contextmanager
def serving(folder, mode, asked):
    """A port of an usher with this many identifiers, once it names."""
    port = processes.free_port()
    file = folder / f"{mode}-{asked}.conf"
    log = file.with_suffix(".log")
    file.write_text(CONFIG.format(port=port, names=names_text(folder, mode, asked)))
    with processes.running([BUILD / "src/usher", "run", "-c", file], log):
        for _ in range(200):
            with contextlib.suppress(subprocess.CalledProcessError):
                measure(port, 0.001, 1)
                break
            time.sleep(0.05)
        yield port
        complaints = [line for line in log.read_text().splitlines() if "as root" not in line]
        if complaints:
            raise processes.Failed("usher complained: " + complaints[0])


def run_rounds(cases):
    """Medians of identifications (with none: connections) a second."""
    rates = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="usher-bench-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        ports = {case: stack.enter_context(serving(folder, *case)) for case in cases}
        for _ in range(ROUNDS):
            for case in cases:
                rates[case].append(case[1] * measure(ports[case], SECONDS))
    for (mode, asked), values in rates.items():
        what = "connections" if mode == "none" else f"identifications, {asked} a connection"
        print(
            f"{mode:7} {statistics.median(values):8.0f} a second ({min(values):.0f} to {max(values):.0f}): {what}"
        )
    return {case: statistics.median(values) for case, values in rates.items()}


def main():
    for needed in NEEDED:
        if not (BUILD / needed).exists():
            print(f"bench: no {BUILD / needed}: build it, or set BUILD", file=sys.stderr)
            return 2
    try:
        medians = run_rounds([("none", 1), ("once", 1), ("stream", 1), ("once", MANY), ("stream", MANY)])
    except (processes.Failed, subprocess.CalledProcessError) as error:
        print(f"bench: {error} {getattr(error, 'stderr', '')}", file=sys.stderr)
        return 1
    ratios = {asked: medians["stream", asked] / medians["once", asked] for asked in (1, MANY)}
    print(
        f"stream is {ratios[1]:.1f} times as fast with 1 a connection, {ratios[MANY]:.1f} times with {MANY}, "
        f"expected at least {LEAST_RATIO}"
    )
    return 0 if ratios[MANY] >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
