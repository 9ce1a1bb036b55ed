"""What was measured, for people (tables) and for programs (JSON)."""

import statistics

import figures

DECISION_LIMIT = 2.0  # a decision among 10,000 services may cost this many times one among 10
PROBES_LIMIT = 2000  # ns that one over 1 KB with every built-in probe in use may cost, median


class Results:
    """Every value of every round, and every failure."""

    def __init__(self, names):
        self.names = names
        self.values = {name: {column.key: [] for column in figures.COLUMNS} for name in names}
        self.busy = []  # the part of the machine that others used just before each round
        self.failures = []
        self.invalid = set()  # (contender, column) of what a failure touched

    def add(self, name, found):
        for key, value in found.items():
            self.values[name][key].append(value)

    def fail(self, name, measurement, reason):
        """A failure in one round spoils the figures of all rounds."""
        self.failures.append({"contender": name, "measurement": measurement.name, "reason": reason})
        self.invalid.update((name, key) for key in measurement.keys)

    def median(self, name, key):
        values = self.values[name][key]
        return statistics.median(values) if values else None

    def spread(self, name, key):
        """How far apart the rounds lie, as a part of their median."""
        values = self.values[name][key]
        middle = self.median(name, key)
        return (max(values) - min(values)) / middle if middle else 0.0

    def as_json(self):
        keys = [column.key for column in figures.COLUMNS]
        medians = {name: {key: self.median(name, key) for key in keys} for name in self.names}
        return {"busy": self.busy, "medians": medians, "rounds": self.values, "failures": self.failures}


def table(title, head, rows):
    """A Markdown table with its columns drawn straight."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        right = [text.rjust(width) for text, width in zip(cells[1:], widths[1:])]
        return "| " + " | ".join([cells[0].ljust(widths[0])] + right) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (width + 1) + ":" for width in widths[1:]]) + "|"
    return "\n".join([title, "", line(head), rule, *map(line, rows), ""])


def cell(results, name, column):
    """The median; with "!" where it is not valid, since something went wrong while it was taken."""
    value = results.median(name, column.key)
    text = "-" if value is None else column.form.format(value)
    return text + " !" if (name, column.key) in results.invalid else text


def figures_table(results, title):
    head = ["contender"] + [column.title for column in figures.COLUMNS]
    rows = [[name] + [cell(results, name, column) for column in figures.COLUMNS] for name in results.names]
    return table(title, head, rows)


def legend(chosen):
    width = max(len(contender.name) for contender in chosen)
    return "\n".join(f"  {contender.name.ljust(width)}  {contender.about}" for contender in chosen) + "\n"


def ratio(results, name, peer, column):
    """How many times better `name` is than `peer`, whichever side is better for this figure."""
    ours, theirs = results.median(name, column.key), results.median(peer, column.key)
    if not ours or not theirs or {(name, column.key), (peer, column.key)} & results.invalid:
        return "-"
    return f"{ours / theirs if column.better == 'more' else theirs / ours:.2f}"


def ratios_table(results):
    """Empty when no usher was measured, or nothing beside it."""
    ours = [name for name in results.names if name.startswith("usher")]
    peers = [name for name in results.names if name not in ours]
    rows = [[f"{name} : {peer}"] + [ratio(results, name, peer, column) for column in figures.COLUMNS]
            for name in ours for peer in peers]
    if not rows:
        return ""
    head = ["times better"] + [column.title for column in figures.COLUMNS]
    title = "How many times better usher is (above 1 it is ahead, whichever way the figure points):"
    return table(title, head, rows)


def spread_line(results):
    spreads = [(results.spread(name, column.key), name, column.title)
               for name in results.names for column in figures.COLUMNS if results.values[name][column.key]]
    if not spreads:
        return ""
    middle = statistics.median(spread for spread, _, _ in spreads)
    widest, name, title = max(spreads)
    return (f"Between rounds (largest less smallest, of the median): typically {middle:.0%}, "
            f"at worst {widest:.0%} ({name}, {title}).\n"
            f"Other programs used up to {max(results.busy):.0%} of the machine just before a round.\n")


def failures_text(results):
    """Once for each contender and measurement, with the first reason."""
    if not results.failures:
        return ""
    reasons = {}
    for failure in results.failures:
        reasons.setdefault((failure["contender"], failure["measurement"]), []).append(failure["reason"])
    lines = [f"  {name}, {measurement}, {len(found)} of the rounds: {found[0]}"
             for (name, measurement), found in reasons.items()]
    return "\n".join(['Marked "!": NOT VALID, something went wrong while it was measured:', *lines, ""])


def decision_ratios(lines):
    """10,000 services against 10, for every kind of service that was measured with both."""
    ns = {(line["kind"], line["services"]): line["ns"] for line in lines}
    kinds = [kind for kind, services in ns if services == 10 and (kind, 10_000) in ns]
    return {kind: ns[kind, 10_000] / ns[kind, 10] for kind in kinds}


def decisions_table(lines):
    ns = {(line["kind"], line["services"]): line["ns"] for line in lines}
    sizes = sorted({services for _, services in ns})
    ratios = decision_ratios(lines)
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in ns):
        cells = [f"{ns[kind, size]:,.0f}" if (kind, size) in ns else "-" for size in sizes]
        rows.append([kind] + cells + [f"{ratios[kind]:.2f}" if kind in ratios else "-"])
    head = ["ns a decision"] + [f"{size:,} services" for size in sizes] + ["10,000 : 10"]
    return table("What a decision costs:", head, rows)


def decision_verdict(lines):
    slow = {kind: value for kind, value in decision_ratios(lines).items() if value > DECISION_LIMIT}
    if not slow:
        return f"Held: no decision among 10,000 services costs {DECISION_LIMIT:.0f} times one among 10.\n"
    listed = ", ".join(f"{kind} {value:.2f}" for kind, value in slow.items())
    return (f"*** TOO SLOW *** a decision among 10,000 services costs more than {DECISION_LIMIT:.0f} times "
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
    return table("What a decision costs with every built-in probe in use:", head, rows)


def probes_verdict(lines):
    probes, ns = probes_median(lines)
    held = "Held" if ns <= PROBES_LIMIT else "*** TOO SLOW ***"
    return f"{held}: with {probes} probes in use the median is {ns:,} ns, at most {PROBES_LIMIT:,} are wanted.\n"
