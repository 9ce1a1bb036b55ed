"""What was measured, for people (tables) and for programs (JSON)."""

import statistics


class Results:
    """Every value of every round, and every failure."""

    def __init__(self, names, measurements):
        self.names = names
        self.measurements = measurements
        self.columns = {column.key: column for measurement in measurements for column in measurement.columns}
        self.values = {name: {key: [] for key in self.columns} for name in names}
        self.busy = []  # the part of the machine that others used just before each round
        self.failures = []
        self.invalid = set()  # (contender, column) of what a failure touched

    def add(self, name, found):
        for key, value in found.items():
            self.values[name][key].append(value)

    def fail(self, name, measurement, reason):
        """A failure in one round spoils the figures of all rounds."""
        self.failures.append({"contender": name, "measurement": measurement.title, "reason": reason})
        self.invalid.update((name, key) for key in measurement.keys)

    def failures_of(self, prefix):
        return [failure for failure in self.failures if failure["contender"].startswith(prefix)]

    def median(self, name, key):
        values = self.values.get(name, {}).get(key)
        return statistics.median(values) if values else None

    def valid(self, name, key):
        """The median, or None where it was not measured or means nothing."""
        return None if (name, key) in self.invalid else self.median(name, key)

    def spread(self, name, key):
        """How far apart the rounds lie, as a part of their median."""
        values = self.values[name][key]
        middle = self.median(name, key)
        return (max(values) - min(values)) / middle if middle else 0.0

    def as_json(self):
        medians = {name: {key: self.median(name, key) for key in self.columns} for name in self.names}
        invalid = sorted(f"{name} {key}" for name, key in self.invalid)
        return {"busy": self.busy, "medians": medians, "rounds": self.values, "failures": self.failures, "invalid": invalid}


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


def measured(results, measurement):
    return [name for name in results.names if any(results.values[name][key] for key in measurement.keys)]


def figures_table(results, measurement):
    head = ["contender"] + [column.title for column in measurement.columns]
    rows = [[name] + [cell(results, name, column) for column in measurement.columns] for name in measured(results, measurement)]
    return table(measurement.title + ":", head, rows)


def legend(chosen):
    width = max(len(contender.name) for contender in chosen)
    return "\n".join(f"  {contender.name.ljust(width)}  {contender.about}" for contender in chosen) + "\n"


def ratio(results, name, peer, column):
    """How many times better `name` is than `peer`, whichever side is better for this figure."""
    ours, theirs = results.valid(name, column.key), results.valid(peer, column.key)
    if not ours or not theirs:
        return "-"
    return f"{ours / theirs if column.better == 'more' else theirs / ours:.2f}"


def ratios_table(results, measurement):
    """Empty when no usher was measured, or nothing beside it."""
    names = measured(results, measurement)
    ours = [name for name in names if name.startswith("usher")]
    rows = [[f"{name} : {peer}"] + [ratio(results, name, peer, column) for column in measurement.columns]
            for name in ours for peer in names if peer not in ours]
    head = ["times better"] + [column.title for column in measurement.columns]
    return table("How many times better usher is (above 1 it is ahead, whichever way the figure points):", head, rows) if rows else ""


def spread_line(results):
    spreads = [(results.spread(name, key), name, column.title)
               for name in results.names for key, column in results.columns.items() if results.values[name][key]]
    if not spreads:
        return ""
    middle = statistics.median(spread for spread, _, _ in spreads)
    widest, name, title = max(spreads)
    return (f"Between rounds (largest less smallest, of the median): typically {middle:.0%}, "
            f"at worst {widest:.0%} ({name}, {title}).\n"
            f"Other programs used up to {max(results.busy):.0%} of the machine just before a round.\n")


def everything(results):
    parts = []
    for measurement in results.measurements:
        parts += [figures_table(results, measurement), ratios_table(results, measurement)]
    parts += [spread_line(results), failures_text(results)]
    return "\n".join(part for part in parts if part)


def failures_text(results):
    """Once for each contender and measurement, with the first reason."""
    if not results.failures:
        return ""
    reasons = {}
    for failure in results.failures:
        reasons.setdefault((failure["contender"], failure["measurement"]), []).append(failure["reason"])
    lines = [f"  {name}; {measurement}; {len(found)} of the rounds: {found[0]}"
             for (name, measurement), found in reasons.items()]
    return "\n".join(['Marked "!": NOT VALID, something went wrong while it was measured:', *lines, ""])
