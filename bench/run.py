#!/usr/bin/python3
"""usher measured beside what people use today: sslh, HAProxy and nginx stream, the same server behind all.

    bench/run.py [--quick] [--only NAME,...]

Contenders take turns within every round, so that a machine that is slow for a minute is slow for all of
them; medians of the rounds are printed. README.md beside this file says how to read the figures. Exit
status: 0, 1 when a figure of usher is invalid or a decision too slow, 2 when something is not there.

Environment: BUILD (build), OUT ($BUILD/bench.json), ROUNDS (5), SECONDS a measurement (3), PIN (1: the mux
has a core of its own).
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import signal
import subprocess
import sys
import tempfile

import contenders
import figures
import network
import processes
import report


def refuse(complaint):
    """Ends for a mistake in how the program was called."""
    print(f"bench: {complaint}", file=sys.stderr)
    raise SystemExit(2)


def number_from(name, default):
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        refuse(f"{name}={text}: expected a whole number")
    return int(text)


def read_arguments():
    parser = argparse.ArgumentParser(description="usher measured beside its peers; see bench/README.md")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 second: to see whether it works")
    parser.add_argument("--only", default=",".join(contender.name for contender in contenders.CONTENDERS),
                        metavar="NAME,...", help="contenders, from: %(default)s")
    arguments = parser.parse_args()
    arguments.build = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
    arguments.out = pathlib.Path(os.environ.get("OUT", arguments.build / "bench.json"))
    arguments.rounds = 2 if arguments.quick else max(1, number_from("ROUNDS", 5))
    arguments.seconds = 1 if arguments.quick else max(1, number_from("SECONDS", 3))
    arguments.contenders = select(arguments.only.split(","))
    return arguments


def select(names):
    known = {contender.name: contender for contender in contenders.CONTENDERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        refuse(f"--only {','.join(unknown)}: expected some of {','.join(known)}")
    return [known[name] for name in names]


def complain_about_missing(arguments):
    packages = contenders.missing_packages(arguments.contenders)
    if packages:
        print(f"bench: packages are missing: apt install {' '.join(packages)}", file=sys.stderr)
    programs = [arguments.build / "bench" / name for name in ("connload", "bulk", "idle")]
    if any(contender.name.startswith("usher") for contender in arguments.contenders):
        programs.append(arguments.build / "src" / "usher")
    absent = [str(program) for program in programs if not program.exists()]
    if absent:
        print(f"bench: not built: {' '.join(absent)} (BUILD names the build directory)", file=sys.stderr)
    if packages or absent:
        raise SystemExit(2)


def raise_file_limit():
    """5,000 idle connections are 10,000 descriptors in a mux."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 2 * figures.IDLE_CONNECTIONS + 100:
        print(f"bench: at most {most} descriptors: expect the idle figures to fail", file=sys.stderr)


def measure(bench, contender, measurement, results):
    """One measurement of one contender, on a fresh process."""
    try:
        with bench.ground.running(contender) as target:
            results.add(contender.name, measurement.take(bench, contender, target))
    except processes.Failed as failure:
        results.add(contender.name, failure.values)
        results.fail(contender.name, measurement, str(failure))


def play_rounds(bench, arguments):
    """Round by round, figure by figure, one contender after another; each round begins with another one."""
    results = report.Results([contender.name for contender in arguments.contenders])
    for turn in range(arguments.rounds):
        results.busy.append(processes.machine_busy(0.5))
        first = turn % len(arguments.contenders)
        order = arguments.contenders[first:] + arguments.contenders[:first]
        for measurement in figures.MEASUREMENTS:
            print(f"bench: round {turn + 1} of {arguments.rounds}: {measurement.name}", file=sys.stderr)
            for contender in order:
                measure(bench, contender, measurement, results)
    return results


def measure_decisions(build, name):
    """The lines of one of the two programs; none when it is not there or fails, so that the rest is still reported."""
    program = build / "bench" / name
    if not program.exists():
        return []
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [json.loads(line) for line in lines if line.startswith("{")]


def title(arguments, cores):
    where = "mux on a core of its own" if cores.pinned else "no pinning"
    return (f"{arguments.rounds} rounds of {arguments.seconds} s, medians; {len(cores.all)} cores, {where}; "
            f"{network.described()}; Linux {platform.release()}. Ratios travel, absolute figures do not.")


def print_report(results, decisions, probes, heading, chosen):
    print(report.figures_table(results, heading))
    print(report.legend(chosen))
    for text in (report.ratios_table(results), report.spread_line(results), report.failures_text(results)):
        if text:
            print(text)
    if decisions:
        print(report.decisions_table(decisions))
        print(report.decision_verdict(decisions))
    else:
        print("What a decision costs: NOT MEASURED, bench/decide_bench is not built or failed.")
    if probes:
        print(report.probes_table(probes))
        print(report.probes_verdict(probes))
    else:
        print("What a decision costs with every probe: NOT MEASURED, bench/probe_bench is not built or failed.")


def succeeded(results, decisions, probes):
    ours = [failure for failure in results.failures if failure["contender"].startswith("usher")]
    ratios = report.decision_ratios(decisions).values()
    return not ours and bool(ratios) and max(ratios) <= report.DECISION_LIMIT and report.probes_are_fast(probes)


def main():
    arguments = read_arguments()
    complain_about_missing(arguments)
    network.enter()
    raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = processes.Cores(number_from("PIN", 1) == 1)
    with tempfile.TemporaryDirectory(prefix="usher-bench-") as directory:
        ground = contenders.Ground(directory, arguments.build / "src" / "usher", cores)
        bench = figures.Bench(ground, arguments.build / "bench", arguments.seconds)
        with ground.server():
            results = play_rounds(bench, arguments)
    decisions = measure_decisions(arguments.build, "decide_bench")
    probes = measure_decisions(arguments.build, "probe_bench")
    heading = title(arguments, cores)
    print_report(results, decisions, probes, heading, arguments.contenders)
    everything = {"conditions": heading, **results.as_json(), "decisions": decisions, "probes": probes}
    arguments.out.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"All rounds: {arguments.out}")
    return 0 if succeeded(results, decisions, probes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except processes.Failed as failure:
        sys.exit(f"bench: {failure}")
