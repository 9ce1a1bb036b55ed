#!/usr/bin/python3
"""usher measured beside what people use today: sslh, HAProxy and nginx stream, the same server behind all.

    bench/run.py [--only NAME,...] [--contenders NAME,...]

Contenders take turns within every round, so that a machine that is slow for a minute is slow for all of
them; medians of the rounds are printed. README.md beside this file says how to read the figures. Exit
status: 0, 1 when a figure of usher is invalid or a decision too slow, 2 when something is not there.

Environment: BUILD (build), OUT ($BUILD/bench.json), PICTURE ($BUILD/bench.svg), ROUNDS (7), SECONDS a measurement (1.2),
ONLY (as --only), PIN (1: the mux has a core of its own), SSLH_SELECT, SSLH_EV, HAPROXY, NGINX (newer binaries).
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import signal
import sys
import tempfile
import time

import bars
import calls
import compiling
import contenders
import datagrams
import decisions
import failover
import figures
import network
import picture
import processes
import programs
import report
import scaling
import scraping
import standing
import traffic

MEASUREMENTS = traffic.MEASUREMENTS + standing.MEASUREMENTS + scaling.MEASUREMENTS + programs.MEASUREMENTS + datagrams.MEASUREMENTS
ONCE = "calls", "decisions", "compile", "scrape", "failover"  # no matter of rounds


def refuse(complaint):
    """Ends for a mistake in how the program was called."""
    print(f"bench: {complaint}", file=sys.stderr)
    raise SystemExit(2)


def number_from(name, default):
    text = os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0
    if number <= 0:
        refuse(f"{name}={text}: expected a number above 0")
    return number


def select(what, text, known):
    names = text.replace(",", " ").split()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        refuse(f"{what} {text}: expected some of {','.join(known)}")
    return names


def read_arguments():
    build = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
    known = {contender.name: contender for contender in contenders.available(build)}
    everything = [*dict.fromkeys(measurement.name for measurement in MEASUREMENTS), *ONCE]
    parser = argparse.ArgumentParser(description="usher measured beside its peers; see bench/README.md")
    parser.add_argument("--only", default=os.environ.get("ONLY") or ",".join(everything), metavar="NAME,...",
                        help="measurements, from: " + ",".join(everything))
    parser.add_argument("--contenders", default=os.environ.get("CONTENDERS") or ",".join(known), metavar="NAME,...",
                        help="from: " + ",".join(known))
    arguments = parser.parse_args()
    arguments.build = build
    arguments.out = pathlib.Path(os.environ.get("OUT") or build / "bench.json")
    arguments.picture = pathlib.Path(os.environ.get("PICTURE") or build / "bench.svg")
    arguments.rounds = int(number_from("ROUNDS", 7))
    arguments.seconds = number_from("SECONDS", 1.2)
    arguments.only = select("--only", arguments.only, everything)
    arguments.contenders = [known[name] for name in select("--contenders", arguments.contenders, known)]
    return arguments


def complain_about_missing(arguments):
    packages = contenders.missing_packages(arguments.contenders)
    if packages:
        print(f"bench: packages are missing: apt install {' '.join(packages)}", file=sys.stderr)
    built = ["src/usher"] + ["bench/" + name for name in ("connload", "bulk", "idle", "spawnload", "answer", "flowload", "flowbulk", "flowserver", "bare_datagrams")]
    absent = [name for name in built if not (arguments.build / name).exists()]
    if absent:
        print(f"bench: not built in {arguments.build}: {' '.join(absent)} (BUILD names the directory)", file=sys.stderr)
    if packages or absent:
        raise SystemExit(2)


def raise_file_limit():
    """9,000 idle connections are 18,000 descriptors in a mux."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 2 * standing.STEPS[-1] + 500:
        print(f"bench: at most {most} descriptors: expect the idle figures to fail", file=sys.stderr)


def measure(bench, contender, measurement, results):
    """One measurement of one contender, on a fresh process."""
    try:
        if measurement.starts:
            results.add(contender.name, measurement.take(bench, contender, None))
            return
        with bench.ground.running(contender) as target:
            results.add(contender.name, measurement.take(bench, contender, target))
    except processes.Failed as failure:
        results.add(contender.name, failure.values)
        results.fail(contender.name, measurement, str(failure))


def play_rounds(bench, arguments):
    """Round by round, figure by figure, one contender after another; each round begins with another one."""
    chosen = [measurement for measurement in MEASUREMENTS if measurement.name in arguments.only]
    results = report.Results([contender.name for contender in arguments.contenders], chosen)
    for turn in range(arguments.rounds if chosen else 0):
        results.busy.append(processes.machine_busy(0.5))
        first = turn % len(arguments.contenders)
        order = arguments.contenders[first:] + arguments.contenders[:first]
        for measurement in chosen:
            began = time.monotonic()
            for contender in order:
                if measurement.of(contender):
                    measure(bench, contender, measurement, results)
            print(f"bench: round {turn + 1} of {arguments.rounds}: {measurement.title}, {time.monotonic() - began:.0f} s",
                  file=sys.stderr)
    return results


def title(arguments, cores):
    where = "mux on a core of its own (datagrams: all on one core, where nothing else is said)" if cores.pinned else "no pinning"
    return (f"{arguments.rounds} rounds of {arguments.seconds:g} s, medians; {len(cores.all)} cores, {where}; "
            f"{network.described()}; Linux {'.'.join(platform.release().split('.')[:2])}. Ratios travel, absolute figures do not.")


def measure_once(bench, arguments):
    """What does not change from round to round."""
    found = {"calls": {}, "decisions": [], "probes": [], "quic": [], "choices": [], "compile": {}, "scrape": {}, "failover": {}}
    if "calls" in arguments.only:
        found["calls"] = calls.count_all(bench, arguments.contenders)
    if "decisions" in arguments.only:
        found["decisions"] = decisions.lines_of(bench.tools, "decide_bench")
        found["probes"] = decisions.lines_of(bench.tools, "probe_bench")
        found["choices"] = decisions.lines_of(bench.tools, "choose_bench")
    if "decisions" in arguments.only or "datagrams" in arguments.only:
        found["quic"] = decisions.lines_of(bench.tools, "quic_bench")
    if "compile" in arguments.only:
        found["compile"] = compiling.measure_all(bench)
    if "scrape" in arguments.only:
        found["scrape"] = scraping.measure(bench)
    if "failover" in arguments.only:
        found["failover"] = failover.measure(bench)
    return found


def write_report(arguments, results, once, heading):
    print(heading + "\n")
    print(report.legend(arguments.contenders))
    print(report.everything(results))
    if once["calls"]:
        print(calls.as_text(once["calls"]))
    if "decisions" in arguments.only:
        print(decisions.as_text(once["decisions"], once["probes"]))
        print(decisions.choices_text(once["choices"]))
    if "decisions" in arguments.only or "datagrams" in arguments.only:
        print(decisions.quic_text(once["quic"]))
    if once["compile"]:
        print(compiling.as_text(once["compile"]))
    if once["scrape"]:
        print(scraping.as_text(once["scrape"]))
    if once["failover"]:
        print(failover.as_text(once["failover"]))
    judged = {"bars": bars.judge(results, once["decisions"]), "datagram_bars": bars.judge_datagrams(results, once["quic"])}
    print(bars.as_text(judged["bars"] + judged["datagram_bars"]))
    everything = {"conditions": heading, **results.as_json(), **once,
                  **{name: [dataclasses.asdict(bar) for bar in found] for name, found in judged.items()}}
    arguments.out.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"All rounds: {arguments.out}")
    if picture.draw(everything, arguments.picture):
        print(f"Picture: {arguments.picture}")


def main():
    arguments = read_arguments()
    complain_about_missing(arguments)
    network.enter()
    raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = processes.Cores(os.environ.get("PIN") != "0")
    with tempfile.TemporaryDirectory(prefix="usher-bench-") as directory:
        ground = contenders.Ground(directory, arguments.build, cores)
        bench = figures.Bench(ground, arguments.build / "bench", arguments.seconds)
        with ground.server():
            results = play_rounds(bench, arguments)
            once = measure_once(bench, arguments)
    write_report(arguments, results, once, title(arguments, cores))
    sound = "decisions" not in arguments.only or (
        decisions.are_fast(once["decisions"], once["probes"]) and decisions.choices_are_fast(once["choices"]))
    sound = sound and (decisions.quic_is_fast(once["quic"]) or not {"decisions", "datagrams"} & set(arguments.only))
    sound = sound and not compiling.too_slow(once["compile"]) and not scraping.too_slow(once["scrape"])
    sound = sound and not failover.failed_by_usher(once["failover"])
    return 0 if sound and not results.failures_of("usher") else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except processes.Failed as failure:
        sys.exit(f"bench: {failure}")
