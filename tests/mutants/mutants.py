#!/usr/bin/python3
"""Measures the tests: make mutants. Puts one fault at a time into a file, builds, runs that file's tests, and says which faults no test saw.

A fault is a condition negated, a bound moved by one, a call left out or a constant changed. COUNT of them are taken of each file, those
whose digests under SEED are the lowest: the same ones in every run, and the same after a change elsewhere in the file. One that the
compiler refuses, or turns into the same code as the file itself or another fault, is not counted. Everything happens in a copy,
build-mutants/source, built with the sanitizers: a leak counts as seen, and so does a test that takes far longer than without the fault.
A sandbox and the sanitizers exclude each other: its files are built without.

tests/mutants/equivalent.txt names faults that change nothing a test could see, each with the reason. An entry that names no possible fault
of its file any more is an error. Ends with 1 where a fault survived or an entry is wrong.
"""

import argparse
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import re
import resource
import shlex
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "build-mutants"
SOURCE = PLACE / "source"
EQUIVALENT = pathlib.Path(__file__).with_name("equivalent.txt")

# What is to see a fault in which file: unit tests by name, or a file of tests/system, in this order.
TESTS = {
    "src/deliver/relay.c": "relay relay_bulk relay_programs",
    "src/deliver/relay_flow.c": "relay relay_bulk relay_programs",
    "src/deliver/relay_pool.c": "relay_bulk relay",
    "src/deliver/dial.c": "dial dial_names dial_from",
    "src/deliver/lookup.c": "lookup dial_names",
    "src/deliver/socket_pool.c": "socket_pool",
    "src/request/admission.c": "admission",
    "src/stream/undecided.c": "undecided",
    "src/stream/delivery.c": "delivery",
    "src/decide/decider.c": "decider",
    "src/decide/decider_rules.c": "decider",
    "src/shared/shared_limits.c": "shared_limits",
    "src/shared/backend_check.c": "backend_check",
    "src/helper/check_answer.c": "check_answer",
    "src/migrate/migrant.c": "migrant",
    "src/deliver/handover.c": "handover_taken_back handover_kept handover_said handover_datagrams handover",
    "src/deliver/handover_channel.c": "handover_taken_back handover_kept handover_said handover_datagrams handover",
    "src/deliver/handover_kept.c": "handover_taken_back handover_kept handover_said handover_datagrams handover",
    "src/deliver/handover_message.c": "handover_message handover_said handover handover_datagrams",
    "src/deliver/proxy_header.c": "proxy_header",
    "src/deliver/proxy_header_read.c": "proxy_header",
    "src/decide/access.c": "access_judge",
    "src/access/access_rates.c": "access_rates",
    "src/access/access_policy.c": "access_policy",
    "src/helper/sandbox.c": "sandbox_lists sandbox",
    "src/migrate/migration_send.c": "migration migration_refused test_migration.py",
    "src/migrate/migration_receive.c": "migration migration_refused test_migration.py",
    "src/migrate/migration_unpack.c": "migration migration_refused test_migration.py",
}
UNSANITIZED = {"src/helper/sandbox.c"}
# Of a file of system tests those that take a second.
SELECTED = {"test_migration.py": ["-k", "not (ten_reloads or two_thousand or faster_than or killed or no_time or stand_still or is_measured)"]}

TOKEN = re.compile(r"""
    (?P<skip>/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<directive>^\#(?:\\\n|[^\n])*)
  | (?P<number>\b(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[^\s])
""", re.X | re.S | re.M)
SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NEGATIONS = {"==": "!=", "!=": "==", "&&": "||", "||": "&&"}
COMPARES = set(SWAPS) | set(NEGATIONS) | {"!"}


class Fault:
    """Text from `start` to `end` of a file becomes `new`."""

    def __init__(self, text, kind, start, end, new):
        self.kind, self.start, self.end = kind, start, end
        self.new = new + "\n" * text.count("\n", start, end)  # lines keep their numbers
        self.line = text.count("\n", 0, start) + 1
        begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        self.was = " ".join(text[begin:stop].split())
        self.now = " ".join((text[begin:start] + new + text[end:stop]).split())
        self.name = f"{self.was} => {self.now}"


def tokens_of(text):
    """(kind, text, start, end) of all but comments, strings and directives."""
    return [(found.lastgroup, found.group(), found.start(), found.end()) for found in TOKEN.finditer(text)
            if found.lastgroup not in ("skip", "directive")]


def closing(tokens, at):
    """The index of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(tokens)):
        depth += tokens[i][1] in ("(", "[", "{")
        depth -= tokens[i][1] in (")", "]", "}")
        if depth == 0:
            return i
    return len(tokens) - 1


def changed_number(literal):
    digits = re.match(r"0[xX][0-9a-fA-F]+|[0-9]+", literal).group()
    value = int(digits, 0) if digits[:2] in ("0x", "0X") or digits == "0" else int(digits, 8 if digits[0] == "0" else 10)
    return str(1 if value == 0 else value - 1 if value < 16 else value // 2) + literal[len(digits):]


def faults_of(text):
    """All faults that the file can be given, in its order."""
    tokens, faults = tokens_of(text), []
    body = 0  # the index behind the function that is being read
    asserted = 0

    def add(kind, start, end, new):
        faults.append(Fault(text, kind, start, end, new))

    def negate(first, last):  # tokens from first to last, both of them part of it
        start, end = tokens[first][2], tokens[last][3]
        add("negated", start, end, f"!({text[start:end]})")

    for define in re.finditer(r"^#define\s+\w+[ \t]+\(?(-?)((?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*)\b(?![ \t]*<<)", text, re.M):
        add("constant", define.start(2), define.end(2), changed_number(define.group(2)))
    for i, (kind, word, start, end) in enumerate(tokens):
        before = tokens[i - 1][1] if i else ""
        if word == "{" and before == ")" and i >= body:
            body = closing(tokens, i)
        if i >= body:
            continue  # outside of functions
        if word in ("assert", "static_assert") and tokens[i + 1][1] == "(":
            asserted = closing(tokens, i + 1)
        if i <= asserted:
            continue
        if word in ("if", "while") and tokens[i + 1][1] == "(":
            negate(i + 2, closing(tokens, i + 1) - 1)
        elif word == "for" and tokens[i + 1][1] == "(":
            semicolons, depth = [], 0
            for k in range(i + 1, closing(tokens, i + 1)):
                depth += (tokens[k][1] in ("(", "[", "{")) - (tokens[k][1] in (")", "]", "}"))
                if tokens[k][1] == ";" and depth == 1:
                    semicolons.append(k)
            if len(semicolons) == 2 and semicolons[1] > semicolons[0] + 1:
                negate(semicolons[0] + 1, semicolons[1] - 1)
        elif word == "return":
            last = i
            while tokens[last + 1][1] != ";":
                last += 1
            words = {token[1] for token in tokens[i + 1:last + 1]}
            if words & COMPARES and not words & {"?", "{"}:
                negate(i + 1, last)
        elif word in SWAPS:
            add("bound", start, end, SWAPS[word])
        elif word in NEGATIONS:
            add("negated", start, end, NEGATIONS[word])
        elif word in ("true", "false"):
            add("constant", start, end, "false" if word == "true" else "true")
        elif kind == "number":  # an error in place of success where that is what is returned
            add("constant", start, end, "-1" if (before, word, tokens[i + 1][1]) == ("return", "0", ";") else changed_number(word))
        if kind == "name" and before in (";", "{", "}", ")", "else", ":") and word not in ("if", "for", "while", "switch", "return", "sizeof"):
            last = i
            while tokens[last + 1][1] in ("->", ".") and tokens[last + 2][0] == "name":
                last += 2
            if tokens[last + 1][1] == "(" and tokens[closing(tokens, last + 1) + 1][1] == ";":
                add("left out", start, tokens[closing(tokens, last + 1)][3], "(void)0")
    return faults


def numbered(faults):
    """The faults by name; those that read the same are told apart by a number."""
    named, seen = {}, {}
    for fault in faults:
        seen[fault.name] = seen.get(fault.name, 0) + 1
        named[fault.name if seen[fault.name] == 1 else f"{fault.name} #{seen[fault.name]}"] = fault
    return named


def equivalents():
    """{file: {fault: reason}}. An entry is `file: was => now` and, indented below it, the reason."""
    known, reason = {}, None
    for number, line in enumerate(EQUIVALENT.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            file, _, fault = line.partition(": ")
            reason = known.setdefault(file, {}).setdefault(fault, [])
        elif reason is None:
            sys.exit(f"{EQUIVALENT}:{number}: a reason without a fault")
        else:
            reason.append(line.strip())
    return known


def wrong_entries(known, files):
    """Those of these files, or of files that are not measured, that have no reason or name no possible fault."""
    wrong = []
    for file, entries in known.items():
        if file in files or file not in TESTS:
            possible = numbered(faults_of((ROOT / file).read_text())) if file in TESTS else {}
            wrong += [f"{file}: {fault}" for fault, why in entries.items() if not why or fault not in possible]
    return wrong


def copy_source():
    """What git knows of the checkout; files that are the same keep their times."""
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {name for name in names.split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in SOURCE.rglob("*") if path.is_file() and str(path.relative_to(SOURCE)) not in wanted and "__pycache__" not in path.parts]:
        path.unlink()
    for name in wanted:
        old, new = SOURCE / name, (ROOT / name).read_bytes()
        if not old.is_file() or old.read_bytes() != new:
            old.parent.mkdir(parents=True, exist_ok=True)
            old.write_bytes(new)
            old.chmod((ROOT / name).stat().st_mode)


@functools.cache
def configured(plain):
    """A build directory."""
    place = PLACE / ("build-plain" if plain else "build")
    kind = [] if plain else ["-Db_sanitize=address,undefined"]
    subprocess.run(["scripts/configure", place, "-Dbuildtype=debug", *kind], cwd=SOURCE, check=True)
    return place


def build(place, *targets):
    return subprocess.run(["ninja", "-C", place, "--quiet", "-j2", *targets], capture_output=True, text=True, check=False)


def run(command, timeout, env):
    """None: it passed; else how it failed. Nothing of it is left behind."""
    process = subprocess.Popen(command, cwd=SOURCE, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True, text=True, errors="replace")
    try:
        output, _ = process.communicate(timeout=timeout)
        return None if process.returncode == 0 else output or f"status {process.returncode}"
    except subprocess.TimeoutExpired:
        return "too long"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@functools.cache
def test_of(name, place):
    return Test(name, place)


class Test:
    """One program of tests/unit, or one file of tests/system."""

    def __init__(self, name, place):
        self.name, self.place, self.timeout = name, place, None
        self.env = dict(os.environ, ASAN_OPTIONS="abort_on_error=0", UBSAN_OPTIONS="halt_on_error=1", CMOCKA_TEST_ABORT="1")
        if name.endswith(".py"):
            self.targets = ["src/usher", "src/usher-access", "test-parts"]
            self.command = ["/usr/bin/python3", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/system/{name}", *SELECTED.get(name, [])]
            self.env["USHER"] = str(place / "src/usher")
        else:
            self.targets = [f"tests/unit/test_{name}"]
            self.command = [place / f"tests/unit/test_{name}"]

    def fails(self):
        return run(self.command, self.timeout, self.env)

    def measure(self):
        """Without a fault it passes, and takes so long."""
        if self.timeout:
            return
        built = build(self.place, *self.targets)
        if built.returncode:
            sys.exit(f"{self.name} cannot be built:\n{built.stdout}{built.stderr}")
        began = time.monotonic()
        failed = self.fails()
        if failed:
            sys.exit(f"{self.name} fails without any fault:\n{failed[-4000:]}")
        self.timeout = 20 + 10 * (time.monotonic() - began)


def compiler_of(file, place):
    """The command that makes optimized code of it, without anything that names a line; the object's name is still to come."""
    for entry in json.loads((place / "compile_commands.json").read_text()):
        path = pathlib.Path(os.path.normpath(pathlib.Path(entry["directory"], entry["file"])))
        if path == SOURCE / file:
            words = shlex.split(entry["command"])
            out = words.index("-o")
            kept = [word for word in words[:out] + words[out + 2:]
                    if not word.startswith(("-fsanitize", "-O", "-g", "-M")) and not word.endswith((".o.d", ".o"))]
            return [*kept, "-O2", "-g0", "-w", "-o"]
    return sys.exit(f"{file} is not compiled")


def code(compiler, place):
    """What the compiler makes of it; None: it refuses."""
    made = PLACE / "object.o"
    result = subprocess.run([*compiler, made], cwd=place, capture_output=True, check=False)
    return made.read_bytes() if result.returncode == 0 else None


def measure_file(file, known, options, place):
    """Prints what becomes of each fault; {outcome: how many}."""
    tests = [test_of(name, place) for name in TESTS[file].split()]
    text = (SOURCE / file).read_text()
    named = numbered(faults_of(text))
    order = sorted(named, key=lambda name: hashlib.sha256(f"{options.seed} {file} {name}".encode()).digest())
    order = [name for name in order if options.only in name]
    for test in tests:
        test.measure()
    compiler, counts = compiler_of(file, place), {"mutants": 0, "killed": 0, "explained": 0, "survived": 0}
    codes = {None, code(compiler, place)}
    try:
        for name in order:
            if counts["mutants"] == options.count:
                break
            fault = named[name]
            if name in known:
                counts["mutants"] += 1
                counts["explained"] += 1
                continue
            (SOURCE / file).write_text(text[:fault.start] + fault.new + text[fault.end:])
            made = code(compiler, place)
            if made in codes:
                continue
            codes.add(made)
            counts["mutants"] += 1
            outcome, by = judge(tests)
            counts[outcome] += 1
            if outcome == "survived" or options.verbose:
                print(f"{outcome + by}: {file}:{fault.line}: {fault.kind}\n    {name}", flush=True)
    finally:
        (SOURCE / file).write_text(text)
    return counts


def judge(tests):
    for test in tests:
        if build(test.place, *test.targets).returncode:
            return "killed", " by the compiler"
        failed = test.fails()
        if failed:
            return "killed", f" by {test.name}{' (too long)' if failed == 'too long' else ''}"
    return "survived", ""


def chosen_files(options):
    files = [file for file in TESTS if not options.room or options.room in file.split("/")]
    if options.file:
        files = [file for file in files if options.file in (file, pathlib.Path(file).name, pathlib.Path(file).stem)]
    if not files:
        sys.exit(f"no such room or file; there are: {' '.join(TESTS)}")
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--room", help="a folder of src: its files alone")
    parser.add_argument("--file", help="this file alone: relay.c")
    parser.add_argument("--count", type=int, default=12, help="faults of each file; 12")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", default="", help="faults whose name has this text")
    parser.add_argument("--verbose", action="store_true", help="prints those that were killed too")
    options = parser.parse_args()
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # not without the test that is running, and the file as it was
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    known = equivalents()
    files = chosen_files(options)
    SOURCE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time
        copy_source()
        total = {"mutants": 0, "killed": 0, "explained": 0, "survived": 0}
        rows = []
        for file in files:
            counts = measure_file(file, known.get(file, {}), options, configured(file in UNSANITIZED))
            rows.append((file, counts))
            total = {key: total[key] + counts[key] for key in total}
            print(f"{file}: {counts['killed']} of {counts['mutants']} killed, {counts['explained']} explained, {counts['survived']} survived", flush=True)
    width = max(map(len, TESTS))
    print(f"\n{'file':{width}} mutants killed explained survived")
    for file, counts in [*rows, ("all", total)]:
        print(f"{file:{width}} {counts['mutants']:7} {counts['killed']:6} {counts['explained']:9} {counts['survived']:8}")
    wrong = wrong_entries(known, files)
    if wrong:
        print(f"\nentries of {EQUIVALENT.name} without a reason, or that the file cannot be given any more:", *wrong, sep="\n")
    return 1 if total["survived"] or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
