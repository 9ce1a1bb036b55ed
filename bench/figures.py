"""What all measurements share: the columns of the tables, the load generators, and what a mux costs meanwhile.

A figure is kept only if every answer was right; otherwise processes.Failed says what was wrong.
"""

import collections.abc
import contextlib
import dataclasses
import json
import pathlib
import subprocess
import time

import contenders
import processes

CLIENTS = 64             # at once, for new connections and for kept ones
SETTLE_SECONDS = 0.2     # for what a mux does after the last connection, before its cost is read


@dataclasses.dataclass(frozen=True)
class Column:
    """One figure of a table; `better` is the side that wins."""
    key: str
    title: str
    form: str
    better: str


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What one call of `take` finds out of one contender: {key of a column: value}."""
    name: str      # by which ONLY chooses it
    title: str     # of its table
    take: collections.abc.Callable
    columns: tuple
    of: collections.abc.Callable = lambda contender: True  # which contenders it can be taken of
    starts: bool = False  # it starts the contender itself, in more ways than one

    @property
    def keys(self):
        return [column.key for column in self.columns]


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all measurements need."""
    ground: contenders.Ground
    tools: pathlib.Path
    seconds: float

    @contextlib.contextmanager
    def started(self, *argv):
        """A load generator on its core, ended on the way out if it has not ended by itself."""
        with self.ground.cores.inherited(self.ground.cores.load):
            process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                processes.stop(process)

    def load(self, *argv):
        """Runs a load generator to its end and returns what it printed last, a line of JSON."""
        with self.started(*argv) as process:
            return self.finish(process)

    def finish(self, process):
        name = pathlib.Path(process.args[0]).name
        try:
            output, _ = process.communicate(timeout=self.seconds + 30)
        except subprocess.TimeoutExpired as error:
            raise processes.Failed(f"{name} did not end") from error
        if process.returncode != 0:
            raise processes.Failed(f"{name} ended with status {process.returncode}")
        return json.loads(output.strip().splitlines()[-1])

    def generator(self, name, target, *arguments, seconds=None):
        milliseconds = int((seconds or self.seconds) * 1000)
        return self.load(self.tools / name, target.port, milliseconds, *arguments)

    def connect(self, target, clients, seconds=None):
        """New connections, one after the other by each client."""
        return self.generator("connload", target, clients, "/small", contenders.BODY, seconds=seconds)


def check(result, values=None):
    if result["errors"]:
        raise processes.Failed(f"{result['errors']} errors, the first: {result['first_error']}", values)
    return values


class Cost:
    """CPU seconds that the mux, and that the whole machine uses between the beginning and the end of a with block."""

    def __init__(self, target):
        self.pid = target.pid

    def read(self):
        return (processes.cpu_seconds(self.pid) if self.pid else 0.0), processes.machine_seconds()

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        time.sleep(SETTLE_SECONDS)
        self.mux, self.machine = (after - before for after, before in zip(self.read(), self.before))

    def per(self, count, unit):
        """Of the mux and of the machine, for `unit` of what was counted."""
        return [seconds * unit / count if count else 0.0 for seconds in (self.mux, self.machine)]
