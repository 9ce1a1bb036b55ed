#!/usr/bin/python3
"""Writes what a run of run.py found into a page: the conditions, a table, what was wanted, and the picture beside it.

    bench/page.py build-bench/bench.json docs/performance.md docs/measured.svg

Replaces what is between the two marks in the page, and nothing else. Exit status: 0, 2 when a file or a mark is not there.
"""

import json
import os
import pathlib
import sys

import picture
import report

BEGIN, END = "<!-- measured: bench/page.py -->\n", "<!-- /measured -->\n"
NAMES = {"direct": "no mux", "bare": "bare relay"} | picture.NAMES
COLUMNS = (
    ("conn/s", "conn_per_s", 1, "{:,.0f}"), ("p99 ms", "conn_p99_us", 1e-3, "{:.1f}"), ("CPU µs each", "conn_cpu", 100, "{:.0f}"),
    ("requests/s", "req_per_s", 1, "{:,.0f}"), ("p99 ms", "req_p99_us", 1e-3, "{:.1f}"), ("CPU µs each", "req_cpu", 100, "{:.1f}"),
    ("GB/s", "gb_per_s", 1, "{:.2f}"), ("CPU s/GB", "gb_cpu", 1, "{:.2f}"), ("idle KB", "idle_kb", 1, "{:.2f}"),
)


def cell(found, name, key, factor, form):
    value = found["medians"][name].get(key)
    if value is None or f"{name} {key}" in found["invalid"]:
        return "-"
    return form.format(value * factor)


def text_of(found, picture_path):
    rows = [[NAMES[name]] + [cell(found, name, key, factor, form) for _, key, factor, form in COLUMNS]
            for name in NAMES if name in found["medians"]]
    held = [[bar["what"], bar["wanted"], f"{bar['found']:.2f}", "yes" if bar["held"] else "no"]
            for bar in found["bars"] if bar["found"] is not None]
    busy = max(found["busy"], default=0)
    parts = [f"![CPU time and memory of usher and its peers]({picture_path})\n",
             f"{found['conditions']} Other programs used up to {busy:.0%} of the machine just before a round.\n",
             report.table("", ["", *(title for title, *_ in COLUMNS)], rows).lstrip("\n"),
             report.table("", ["what was wanted", "", "found", "held"], held).lstrip("\n")]
    if found["invalid"]:
        parts.append("A figure that is left out was taken while answers were lost or wrong.\n")
    return "\n".join(parts)


def main():
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} BENCH.JSON PAGE PICTURE")
    found = json.loads(pathlib.Path(sys.argv[1]).read_text())
    page, image = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"page: {page} has no {BEGIN.strip()} ... {END.strip()}", file=sys.stderr)
        return 2
    page.write_text(before + BEGIN + "\n" + text_of(found, os.path.relpath(image, page.parent)) + "\n" + END + after)
    picture.draw(found, image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
