"""What a decision costs, measured by three programs of their own that see one room and nothing else."""

import json
import subprocess

import report

DECISION_LIMIT = 1.5  # a decision among 10,000 services may cost this many times one among 10
PROBES_LIMIT = 2000   # ns that one over 1 KB with every built-in probe in use may cost, median
CHOICE_LIMIT = 1000   # ns that choosing one of 1,000 backends may cost
QUIC_LIMIT = 15_000   # ns that one over the datagrams of a QUIC hello may cost


def lines_of(tools, name):
    """The lines of one of these programs; none when it is not there or fails, so that the rest is still reported."""
    program = tools / name
    if not program.exists():
        return []
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [json.loads(line) for line in lines if line.startswith("{")]


def ratios_of(lines):
    """10,000 services against 10, for every kind of service that was measured with both."""
    ns = {(line["kind"], line["services"]): line["ns"] for line in lines}
    kinds = [kind for kind, services in ns if services == 10 and (kind, 10_000) in ns]
    return {kind: ns[kind, 10_000] / ns[kind, 10] for kind in kinds}


def decision_ratios(lines):
    """Without the look-up in an access list, which is no decision: one step for each bit in which its networks differ."""
    return {kind: ratio for kind, ratio in ratios_of(lines).items() if kind != "cidr"}


def decisions_table(lines):
    ns = {(line["kind"], line["services"]): line["ns"] for line in lines}
    sizes = sorted({services for _, services in ns})
    ratios = ratios_of(lines)
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in ns):
        cells = [f"{ns[kind, size]:,.0f}" if (kind, size) in ns else "-" for size in sizes]
        rows.append([kind] + cells + [f"{ratios[kind]:.2f}" if kind in ratios else "-"])
    head = ["ns a decision"] + [f"{size:,} services" for size in sizes] + ["10,000 : 10"]
    return report.table("What a decision costs (cidr: a look-up in an access list of so many networks):", head, rows)


def decision_verdict(lines):
    slow = {kind: value for kind, value in decision_ratios(lines).items() if value > DECISION_LIMIT}
    if not slow:
        return f"Held: no decision among 10,000 services costs {DECISION_LIMIT:.1f} times one among 10.\n"
    listed = ", ".join(f"{kind} {value:.2f}" for kind, value in slow.items())
    return (f"*** TOO SLOW *** a decision among 10,000 services costs more than {DECISION_LIMIT:g} times "
            f"one among 10: {listed}\n")


def probes_median(lines):
    """(how many probes, ns), or None where it was not measured."""
    return next(((line["probes"], line["ns"]) for line in lines if line["evidence"] == "all"), None)


def probes_are_fast(lines):
    median = probes_median(lines)
    return median is not None and median[1] <= PROBES_LIMIT


def probes_table(lines):
    cases = {(line["evidence"], line["order"], line["ja4"]): line["ns"] for line in lines if line["evidence"] != "all"}
    ways = [("table", False), ("table", True), ("reverse", False), ("reverse", True)]
    rows = [[evidence] + [f"{cases[evidence, *way]:,}" for way in ways] for evidence in dict.fromkeys(case[0] for case in cases)]
    head = ["ns a decision over 1 KB"] + [f"{order} order{', JA4' if ja4 else ''}" for order, ja4 in ways]
    return report.table("What a decision costs with every built-in probe in use:", head, rows)


def probes_verdict(lines):
    probes, ns = probes_median(lines)
    held = "Held" if ns <= PROBES_LIMIT else "*** TOO SLOW ***"
    return f"{held}: with {probes} probes in use the median is {ns:,} ns, at most {PROBES_LIMIT:,} are wanted.\n"


def as_text(decided, probed):
    if decided:
        text = decisions_table(decided) + "\n" + decision_verdict(decided)
    else:
        text = "What a decision costs: NOT MEASURED, bench/decide_bench is not built or failed.\n"
    if probed:
        return text + "\n" + probes_table(probed) + "\n" + probes_verdict(probed)
    return text + "What a decision costs with every probe: NOT MEASURED, bench/probe_bench is not built or failed.\n"


def quic_is_fast(lines):
    return bool(lines) and max(line["ns"] for line in lines) <= QUIC_LIMIT


def quic_text(lines):
    if not lines:
        return "What a decision costs over QUIC: NOT MEASURED, bench/quic_bench is not built or failed.\n"
    rows = [[f"{line['datagrams']}{', JA4' if line['ja4'] else ''}", f"{line['ns']:,}", f"{line['cryptography']:,}"] for line in lines]
    slowest = max(line["ns"] for line in lines)
    held = "Held" if quic_is_fast(lines) else "*** TOO SLOW ***"
    return (report.table("What a decision over a QUIC hello costs, by its server name:", ["datagrams", "ns", "of it cryptography"], rows) +
            f"\n{held}: the slowest takes {slowest:,} ns, at most {QUIC_LIMIT:,} are wanted.\n")


def choices_are_fast(lines):
    return bool(lines) and max(line["ns"] for line in lines) <= CHOICE_LIMIT


def choices_text(lines):
    if not lines:
        return "What choosing a backend costs: NOT MEASURED, bench/choose_bench is not built or failed.\n"
    rows = [[line["balance"], f"{line['down']}", f"{line['ns']:,}", f"{line['counted']:,}"] for line in lines]
    held = "Held" if choices_are_fast(lines) else "*** TOO SLOW ***"
    return (report.table("What choosing one of 1,000 backends costs:", ["balance", "down", "ns", "counted there and given back"], rows) +
            f"\n{held}: the slowest takes {max(line['ns'] for line in lines):,} ns, at most {CHOICE_LIMIT:,} are wanted.\n")


def are_fast(decided, probed):
    ratios = decision_ratios(decided).values()
    return bool(ratios) and max(ratios) <= DECISION_LIMIT and probes_are_fast(probed)
