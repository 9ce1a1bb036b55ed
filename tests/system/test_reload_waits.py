"""While a configuration is read and compiled, however long that takes, everything else goes on: a library that is preloaded
holds the process that opens it until the test lets go."""

import contextlib
import os
import shutil
import signal
import threading

import pytest
from harness import BINARY, BUILD, read_exactly, slow, wait_until
from peers import pair

HOLD = BUILD / "tests/faults/faults-hold.so"
CONFIG = """
listen = [ "127.0.0.1:{port}" ];  control = "{dir}/control";  workers = 2;
protocols = ( { name = "go"; string = "go"; }, { name = "run"; string = "run"; }, { name = "new"; string = "new"; } );
services = (
  { name = "go"; match = "{matches}"; connect = "127.0.0.1:{backend}"; },
  { name = "run"; match = "run"; exec = [ "/bin/cat" ]; } );
"""


@pytest.fixture
def held(usher, backend, place):
    """held(): usher whose configuration can be held back, by `with holding(one):`."""
    assert HOLD.exists()
    binary = place / "usher"
    shutil.copy(BINARY, binary)
    binary.chmod(0o755)

    def start(config=CONFIG, held_file="usher.conf", **options):
        # What is preloaded is not for /bin/cat of a sanitized build.
        one = usher(config, backend=backend.port, matches="go", directory=place,
                    env={"LD_PRELOAD": str(HOLD), "USHER_HOLD": str(place / "hold"),
                         "USHER_HOLD_PATH": str(place / held_file) if held_file else "openlog"},
                    wrapper=lambda command: [str(binary), *command[1:]], **options)
        return one

    return start


@contextlib.contextmanager
def holding(one):
    """Whoever reads the configuration waits until the end of this block."""
    hold, is_held = one.dir / "hold", one.dir / "hold.held"
    hold.touch()
    try:
        yield lambda: wait_until(is_held.exists, 30, "somebody to read the configuration")
    finally:
        hold.unlink(missing_ok=True)
        is_held.unlink(missing_ok=True)


def compilers(one):
    return one._named("compiler")


def goes_on(client, server):
    for one, other in ((client, server), (server, client)):
        one.sendall(b"more")
        assert read_exactly(other, 4) == b"more"


def ran(one, data):
    """What a program that the master starts says to this."""
    with one.connect(timeout=60) as client:
        client.sendall(data)
        assert read_exactly(client, len(data)) == data


def state(one):
    return one.ask(b"status", 60)[0]


def served(one):
    return one.output().count("notice serving: ")


def test_status_programs_and_clients_are_served_while_a_configuration_is_compiled(held, backend):
    one = held()
    client, server = pair(one, backend)
    assert "reloading_since" not in state(one)
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        status = state(one)
        assert status["state"] == "reloading" and status["reloading_since"] >= status["since"]
        ran(one, b"run")
        goes_on(client, server)
        other = pair(one, backend)
        goes_on(*other)
        assert len(one.ask(b"sessions", 60)) == 2
        assert served(one) == 1
    wait_until(lambda: served(one) == 2, 60, "the reload")
    goes_on(client, server)
    wait_until(lambda: state(one)["state"] == "serving", 60, "the state")
    assert not compilers(one)


def test_a_worker_that_dies_while_a_configuration_is_compiled_is_replaced(held, backend):
    one = held(may_crash=True)
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        before = one.workers
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(one.workers_but([before[0]])) == 2, 60, "another worker")
        for _ in range(8):
            pair(one, backend)
    wait_until(lambda: served(one) == 2, 60, "the reload")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_a_configuration_is_compiled(held, number):
    one = held()
    answers = []
    with holding(one) as until_held:
        asker = threading.Thread(target=lambda: answers.extend(one.ask(b"reload", 60)))
        asker.start()
        until_held()
        one.send_signal(number)
        assert one.process.wait(slow(60)) == 0
        asker.join()
    assert answers == [{"error": "usher is ending"}]
    assert "reload refused" not in one.output()


def test_a_reload_while_another_one_is_compiled_reads_the_file_again(held, backend):
    one = held()
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        one.words["matches"] = "new"
        one.write()
        one.send_signal(signal.SIGHUP)
        state(one)  # it was seen
    wait_until(lambda: served(one) == 3, 60, "both reloads")
    with one.connect(timeout=60) as client:
        client.sendall(b"new")
        assert read_exactly(backend.accept(), 3) == b"new"


def test_an_upgrade_is_refused_while_a_configuration_is_compiled(held):
    one = held()
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        assert one.ask(b"upgrade", 60) == [{"error": "a reload or an upgrade is under way: try again"}]
    wait_until(lambda: served(one) == 2, 60, "the reload")


def test_what_kills_the_process_that_compiles_leaves_the_old_configuration(held, backend):
    """As where memory runs out; and the next reload is one like any other."""
    one = held(may_crash=True)
    answers = []
    with holding(one) as until_held:
        asker = threading.Thread(target=lambda: answers.extend(one.ask(b"reload", 60)))
        asker.start()
        until_held()
        (compiler,) = compilers(one)
        os.kill(compiler, signal.SIGKILL)
        asker.join()
    assert answers == [{"error": "the process that compiles the configuration was killed by signal 9 (Killed)"}]
    one.wait_log("reload refused: the running configuration stays")
    pair(one, backend)
    one.reload(timeout=60)
    pair(one, backend)


def test_nothing_of_what_the_master_holds_stays_open_in_the_process_that_compiles(held):
    """Or a client of the control socket would wait for its end, and workers would not see theirs."""
    one = held()
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        (compiler,) = compilers(one)
        links = [os.readlink(f"/proc/{compiler}/fd/{fd}") for fd in os.listdir(f"/proc/{compiler}/fd")]
    assert [link for link in links if "socket:" in link or "eventpoll" in link] == []
    wait_until(lambda: served(one) == 2, 60, "the reload")


def test_the_process_that_compiles_ends_with_the_master(held):
    one = held(status=-signal.SIGKILL)
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        one.seen.look()
        one.send_signal(signal.SIGKILL)
        one.process.wait()
        wait_until(lambda: not one.seen.alive(), 60, "all others to end")


def test_clients_are_served_while_the_image_of_an_upgrade_compiles(held, backend):
    one = held()
    client, server = pair(one, backend)
    answers = []
    with holding(one) as until_held:
        asker = threading.Thread(target=lambda: answers.extend(one.ask(b"upgrade", 60)))
        asker.start()
        until_held()
        goes_on(client, server)
        pair(one, backend)
        program = one.connect(timeout=60)
        program.sendall(b"run")  # it is started once the new image has its policy
    assert read_exactly(program, 3) == b"run"
    program.close()
    asker.join()
    assert answers == [{"done": "upgraded"}]
    goes_on(client, server)


def test_sigterm_ends_it_while_the_image_of_an_upgrade_compiles(held):
    one = held()
    with holding(one) as until_held:
        one.send_signal(signal.SIGUSR2)
        until_held()
        one.seen.look()
        one.send_signal(signal.SIGTERM)
        assert one.process.wait(slow(60)) == 0
        wait_until(lambda: not one.seen.alive(), 60, "all others to end")


def test_sigterm_ends_it_while_its_first_configuration_is_compiled(held, place):
    (place / "hold").touch()
    one = held(serving=False, status=-signal.SIGTERM)
    wait_until((place / "hold.held").exists, 60, "somebody to read the configuration")
    one.seen.look()
    one.send_signal(signal.SIGTERM)
    assert one.process.wait(slow(60)) == -signal.SIGTERM
    wait_until(lambda: not one.seen.alive(), 60, "all others to end")


# ---- whose answer


def waiting_clients(one):
    """Connections that the control socket has."""
    with open("/proc/net/unix", encoding="ascii") as lines:
        return len([line for line in lines if line.split()[-1] == one.control and line.split()[5] == "03"])


def test_each_who_asks_for_a_reload_has_the_answer_of_his_own(held, place):
    """The second one asks when the first reload has read the file, which is wrong by then."""
    (place / "part").write_text("# empty\n")
    one = held(CONFIG + f'@include "{place}/part"\n', held_file="part")
    answers = {}

    def ask(name):
        answers[name] = one.ask(b"reload", 60)[0]

    first, second = (threading.Thread(target=ask, args=(name,)) for name in ("first", "second"))
    with holding(one) as until_held:
        first.start()
        until_held()
        one.write("nonsense = 1;")
        second.start()
        wait_until(lambda: waiting_clients(one) == 2, 60, "both to wait")
    first.join()
    second.join()
    assert answers["first"] == {"done": "reloaded"}
    assert "nonsense" in answers["second"]["error"]


def test_who_waits_for_a_reload_is_told_when_usher_ends(held):
    one = held()
    answers = []
    asking = [threading.Thread(target=lambda: answers.extend(one.ask(b"reload", 60))) for _ in range(2)]
    with holding(one) as until_held:
        asking[0].start()
        until_held()
        asking[1].start()
        wait_until(lambda: waiting_clients(one) == 2, 60, "both to wait")
        state(one)  # the loop has served both by then
        one.send_signal(signal.SIGTERM)
        for thread in asking:
            thread.join()
    assert answers == [{"error": "usher is ending"}] * 2


def test_a_reload_while_an_upgrade_is_tried_is_refused(held):
    one = held()
    binary = one.dir / "usher"
    binary.rename(one.dir / "real")
    binary.write_text(f"#!/bin/sh\nwhile [ -e {one.dir}/wait ]; do sleep 0.05; done\nexec {one.dir}/real \"$@\"\n")
    binary.chmod(0o755)
    (one.dir / "wait").touch()
    one.send_signal(signal.SIGUSR2)
    one.wait_log("is tested", timeout=60)
    assert "try again" in one.ask(b"reload", 60)[0]["error"]
    (one.dir / "wait").unlink()
    wait_until(lambda: served(one) == 2, 60, "the upgrade")


# ---- a logger that does not start

TO_SYSLOG = CONFIG + 'log = { to = "syslog"; };'


def loggers(one):
    return set(one.loggers)


@pytest.fixture
def logs(held, place):
    """logs(): usher whose logger, once it is one for syslog, can be held back."""
    place.chmod(0o777)  # to say so as another user
    return lambda **options: held(held_file=None, **options)


def test_a_logger_that_does_not_start_keeps_nobody_waiting(logs, backend):
    one = logs()
    client, server = pair(one, backend)
    before = loggers(one)
    one.write(TO_SYSLOG)
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        assert state(one)["state"] == "reloading"
        ran(one, b"run")
        goes_on(client, server)
        goes_on(*pair(one, backend))
        assert before < loggers(one)
    wait_until(lambda: state(one)["state"] == "serving", 60, "the reload")
    wait_until(lambda: before.isdisjoint(loggers(one)), 60, "the old logger to be gone")
    goes_on(client, server)


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_a_logger_does_not_start(logs, ends):
    one = logs()
    one.write(TO_SYSLOG)
    with holding(one) as until_held:
        one.send_signal(signal.SIGHUP)
        until_held()
        one.send_signal(ends)
        assert one.process.wait(slow(60)) == 0


def test_a_logger_that_dies_at_its_start_changes_nothing(logs, backend):
    one = logs(may_crash=True)
    before = loggers(one)
    one.write(TO_SYSLOG)
    answers = []
    asking = threading.Thread(target=lambda: answers.extend(one.ask(b"reload", 60)))
    with holding(one) as until_held:
        asking.start()
        until_held()
        (fresh,) = loggers(one) - before
        os.kill(fresh, signal.SIGKILL)
        asking.join()
    assert "the logger ended before it was ready" in answers[0]["error"]
    assert loggers(one) == before and state(one)["state"] == "serving"
    goes_on(*pair(one, backend))
