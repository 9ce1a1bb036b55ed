"""A reload for which there is no memory leaves the old configuration: each allocation of the master is made to fail once, and so are
many of the process that compiles, libconfig's among them."""

import itertools
import random
import re
import signal

import pytest
from harness import BUILD, read_exactly, wait_until
from peers import SANITIZED, pair

MEMORY = BUILD / "tests/faults/faults-memory.so"
CONFIG = """
listen = [ "127.0.0.1:{port}", "unix:{dir}/socket-{turn}" ];  control = "{dir}/control";  workers = 2;  pid_file = "{dir}/pid";
log = { to = "stderr"; level = "info"; facility = "local{turn}"; };
protocols = ( { name = "go"; string = "go"; }, { name = "run"; string = "run"; }, { name = "new"; string = "new"; }, { name = "odd"; regex = "^odd[0-9]"; } );
services = (
  { name = "go"; match = "{matches}"; connect = "127.0.0.1:{backend}"; allow = [ "127.0.0.0/8" ]; },
  { name = "run"; match = "run"; exec = [ "/bin/cat" ]; },
  { name = "web"; match = { protocol = "tls"; sni = "*.example.org"; }; connect = [ "localhost:{backend}" ]; },
  { name = "odd"; match = [ "odd", "http" ]; reject = "close"; } );
"""

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")


@pytest.fixture
def short(usher, backend, place):
    one = usher(CONFIG, backend=backend.port, matches="go", turn=0, directory=place, may_crash=True,
                env={"LD_PRELOAD": str(MEMORY), "USHER_NO_MEMORY_ORDER": str(place / "order")})
    pair(one, backend)
    return one


def outcomes(one):
    """Reloads that ended, well or not."""
    return len(re.findall("notice serving: |error reload refused: |error the new workers do not start", one.output()))


def order(one, text):
    (one.dir / "order.new").write_text(text + "\n")
    (one.dir / "order.new").rename(one.dir / "order")


def reload_without(one, who, number):
    """A reload in which this allocation fails. False: there were not so many."""
    done = one.dir / "order.done"
    before = outcomes(one)
    order(one, f"{who} {number}")
    one.send_signal(signal.SIGHUP)
    wait_until(lambda: outcomes(one) > before, 60, f"the end of a reload ({who} {number}):\n{one.output()[-2000:]}")
    assert one.process.poll() is None
    failed = done.exists()
    done.unlink(missing_ok=True)
    return failed


def check_serves(one, backend):
    client, server = pair(one, backend)
    client.close()
    server.close()
    with one.connect(timeout=60) as client:
        client.sendall(b"run")
        assert read_exactly(client, 3) == b"run"


def check_reloads(one, backend):
    """Now there is memory; and all of a new configuration is in force."""
    order(one, "nobody")
    one.words["matches"] = "new"
    one.reload(one.config, timeout=60)
    with one.connect(timeout=60) as client:
        client.sendall(b"new")
        assert read_exactly(backend.accept(), 3) == b"new"


def test_each_allocation_of_the_master_may_fail_in_a_reload(short, backend):
    one = short
    for number in itertools.count(1):
        one.words["turn"] = number % 2  # another listener and another logger
        one.write()
        if not reload_without(one, "master", number):
            break
        check_serves(one, backend)
    assert number > 10, "so few allocations?"
    check_reloads(one, backend)


def test_allocations_may_fail_where_the_configuration_is_compiled(short, backend):
    one = short
    rng = random.Random(15)
    number, tried = 0, 0
    while True:
        number += 1 if number < 20 else rng.randint(1, number // 4)
        if not reload_without(one, "compiler", number):
            break
        tried += 1
        check_serves(one, backend)
    assert tried > 30, "so few allocations?"
    assert "the process that compiles the configuration was killed by signal 6 (Aborted), as it is where memory runs out" in one.output()
    check_reloads(one, backend)
