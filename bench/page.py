#!/usr/bin/python3
"""Writes what a run of run.py found into a page: the conditions, a table, what was wanted, and the picture beside it.

    bench/page.py build-bench/bench.json docs/performance.md docs/measured.svg

Replaces what is between two marks in the page, for streams and for datagrams, each if the run has measured them, and nothing else.
Exit status: 0, 1 when a mark is not there.
"""

import json
import os
import pathlib
import sys

import picture
import report

STREAMS = "<!-- measured: bench/page.py -->\n", "<!-- /measured -->\n"
DATAGRAMS = "<!-- datagrams: bench/page.py -->\n", "<!-- /datagrams -->\n"
NAMES = {"direct": "no mux", "bare": "bare relay"} | picture.NAMES
COLUMNS = (
    ("conn/s", "conn_per_s", 1, "{:,.0f}"), ("p99 ms", "conn_p99_us", 1e-3, "{:.1f}"), ("CPU µs each", "conn_cpu", 100, "{:.0f}"),
    ("requests/s", "req_per_s", 1, "{:,.0f}"), ("p99 ms", "req_p99_us", 1e-3, "{:.1f}"), ("CPU µs each", "req_cpu", 100, "{:.1f}"),
    ("GB/s", "gb_per_s", 1, "{:.2f}"), ("CPU s/GB", "gb_cpu", 1, "{:.2f}"), ("idle KB", "idle_kb", 1, "{:.2f}"),
)
DATAGRAM_COLUMNS = (
    ("1 in flight: /s", "ping_1_per_s", 1, "{:,.0f}"), ("CPU µs", "ping_1_cpu", 1, "{:.1f}"),
    ("8 in flight: /s", "ping_8_per_s", 1, "{:,.0f}"), ("CPU µs", "ping_8_cpu", 1, "{:.1f}"),
    ("apart, 1: CPU µs", "apart_1_cpu", 1, "{:.1f}"), ("8: CPU µs", "apart_8_cpu", 1, "{:.1f}"),
    ("bulk GB/s", "bulk_joined_per_s", 1, "{:.2f}"), ("CPU s/GB", "bulk_joined_cpu", 1, "{:.2f}"),
    ("read singly", "bulk_plain_per_s", 1, "{:.2f}"), ("CPU s/GB", "bulk_plain_cpu", 1, "{:.2f}"),
    ("singles", "bulk_singles_per_s", 1, "{:.2f}"), ("CPU s/GB", "bulk_singles_cpu", 1, "{:.2f}"),
    ("new flows/s", "flow_per_s", 1, "{:,.0f}"), ("CPU µs", "flow_cpu", 1, "{:.1f}"),
    ("KB/flow", "flow_kb", 1, "{:.2f}"), ("kernel's, ends included", "flow_kernel_kb", 1, "{:.2f}"),
)


def cell(found, name, key, factor, form):
    value = found["medians"][name].get(key)
    if value is None or f"{name} {key}" in found["invalid"]:
        return "-"
    return form.format(value * factor)


def measured(found, columns):
    """The contenders that have one of these figures."""
    return [name for name in NAMES if name in found["medians"]
            and any(found["medians"][name].get(key) is not None for _, key, *_ in columns)]


def conditions(found):
    busy = max(found["busy"], default=0)
    return f"{found['conditions']} Other programs used up to {busy:.0%} of the machine just before a round.\n"


def tables(found, columns, bars):
    rows = [[NAMES[name]] + [cell(found, name, key, factor, form) for _, key, factor, form in columns] for name in measured(found, columns)]
    held = [[bar["what"], bar["wanted"], f"{bar['found']:.2f}", "yes" if bar["held"] else "no"]
            for bar in found[bars] if bar["found"] is not None]
    parts = [conditions(found), report.table("", ["", *(title for title, *_ in columns)], rows).lstrip("\n"),
             report.table("", ["what was wanted", "", "found", "held"], held).lstrip("\n")]
    if any(f"{name} {key}" in found["invalid"] for name in NAMES for _, key, *_ in columns):
        parts.append("A figure that is left out was taken while answers were lost or wrong.\n")
    return "\n".join(parts)


def replace(page, marks, text):
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise SystemExit(f"page: the page has no {marks[0].strip()} ... {marks[1].strip()}")
    return before + begin + "\n" + text + "\n" + end + after


def main():
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} BENCH.JSON PAGE PICTURE")
    found = json.loads(pathlib.Path(sys.argv[1]).read_text())
    page, image = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    text = page.read_text()
    if measured(found, COLUMNS):
        shown = f"![CPU time and memory of usher and its peers]({os.path.relpath(image, page.parent)})\n\n"
        text = replace(text, STREAMS, shown + tables(found, COLUMNS, "bars"))
        picture.draw(found, image)
    if measured(found, DATAGRAM_COLUMNS):
        text = replace(text, DATAGRAMS, tables(found, DATAGRAM_COLUMNS, "datagram_bars"))
    page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
