"""Messages between usher's processes that the kernel does not take at once, and messages that are lost: nothing waits for ever, and nobody
gets another's answer (tests/faults/messages.c)."""

import os
import threading

import pytest
from harness import BUILD, BINARY, read_all, read_exactly, slow, wait_until

MESSAGES = BUILD / "tests/faults/faults-messages.so"
HOLD = BUILD / "tests/faults/faults-hold.so"
SANITIZED = b"__asan_init" in BINARY.read_bytes()
SANITIZER_OPTIONS = os.environ.get("ASAN_OPTIONS", "")

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = {workers};  control = "{dir}/control";  decide_timeout = 60.0;  access_timeout = {access};
identifiers = ( { program = [ "/bin/sh", "-c", "read line; echo named" ]; mode = "once"; timeout = {patience}; } );
protocols = ( { name = "pipes"; string = "pipes"; }, { name = "stdio"; string = "stdio"; }, { name = "gate"; string = "gate"; },
              { name = "name"; string = "name"; }, { name = "echo"; string = "echo"; } );
services = ( { name = "pipes"; match = "pipes"; exec = [ "/bin/sh", "-c", "echo $REMOTE_PORT; cat" ]; stdio = "pipe"; },
             { name = "stdio"; match = "stdio"; exec = [ "/bin/sh", "-c", "echo $REMOTE_PORT; cat" ]; fallback = "echo"; },
             { name = "gate"; match = "gate"; access = [ "/bin/true" ]; connect = "{echo}"; },
             { name = "name"; match = "name"; connect = "localhost:{name}"; },
             { name = "echo"; match = "echo"; connect = "{echo}"; },
             { name = "rest"; match = { identified = "named"; }; connect = "{echo}"; } );
"""


@pytest.fixture
def pressed(usher, echo):
    """pressed(faults): an usher whose messages fail so."""

    def start(faults, workers=2, access=5.0, patience=60.0, more=None, directory=None, **env):
        env.update({"LD_PRELOAD": str(MESSAGES) + (f":{more}" if more else ""), "USHER_MESSAGES": "faults: " + faults})
        if SANITIZED:
            env["ASAN_OPTIONS"] = SANITIZER_OPTIONS + ":verify_asan_link_order=0"
        return usher(CONFIG, workers=workers, access=access, patience=patience, echo=echo.tcp4, name=echo.tcp4.rsplit(":")[-1], env=env,
                     directory=directory)

    return start


def served(one, first):
    """Whether a client that says this gets what is its own: the program's first line names its port, then comes an echo."""
    with one.connect(timeout=60.0) as client:
        client.sendall(first)
        if first in (b"pipes", b"stdio"):
            line = f"{client.getsockname()[1]}\n".encode()
            assert read_exactly(client, len(line)) == line
        assert read_exactly(client, len(first)) == first
    return True


ALL = [b"pipes", b"stdio", b"gate", b"name", b"echo", b"what is this?"]


def everything(one):
    for first in ALL:
        served(one, first)
    assert len(one.ask(b"sessions", 60)) >= 0
    assert one.ask(b"log debug", 60) and one.ask(b"log info", 60)


# ---- sends that fail for a while


@pytest.mark.parametrize("faults", ["seed=1 master=1 worker=1 names=1 logger=1", "seed=2 master=0.4 worker=0.4", "seed=3 master=0.8",
                                    "seed=4 worker=0.8"])
def test_what_the_kernel_does_not_take_at_once_is_sent_later(pressed, faults):
    one = pressed(faults)
    for _ in range(3):
        everything(one)
    with one.connect(timeout=60.0) as idle:
        idle.sendall(b"echo")
        assert read_exactly(idle, 4) == b"echo"
        one.reload(timeout=60.0)
        everything(one)
        before = one.output().count("notice serving: ")
        assert one.ask(b"upgrade", 60)[0] == {"done": "upgraded"}
        wait_until(lambda: one.output().count("notice serving: ") > before, 60, "the next image")
        everything(one)
        idle.sendall(b"again")
        assert read_exactly(idle, 5) == b"again"
    assert not any("says what no" in line.text for line in one.log)


# ---- answers that are lost


def test_a_lost_answer_costs_its_client_alone_who_is_told_in_time(pressed):
    one = pressed("seed=1 lose=answer:2", workers=1)
    lost = [one.connect(timeout=60.0) for _ in range(2)]
    for n, (client, first) in enumerate(zip(lost, (b"pipes", b"stdio"))):
        client.sendall(first)
        wait_until(lambda: sum(session.get("phase") == "spawning" for session in one.ask(b"sessions", 60)) > n, 60, "its request")
    for first in ALL * 3:
        served(one, first)
    for client, first in zip(lost, (b"pipes", b"stdio")):
        try:
            said = read_all(client)
        except ConnectionResetError:  # what it had sent was not read
            said = b""
        own = f"{client.getsockname()[1]}\n".encode()  # of its own program, if any
        assert (own + first).startswith(said), (first, said)
        client.close()
    def failures():
        return [line for line in one.connections() if line["end"] == "delivery-failed"]

    failed = wait_until(lambda: len(failures()) == 2 and failures(), 60, "both lines")
    assert sorted(line["service"] for line in failed) == ["pipes", "stdio"], one.output()[-3000:]
    assert all("timed out" in line["error"].lower() for line in failed)
    assert sum("has not answered" in line.text for line in one.log) >= 1
    everything(one)


def test_a_lost_verdict_refuses_its_client(pressed):
    one = pressed("seed=1 lose=verdict:1", workers=1, access=0.5)
    with one.connect(timeout=60.0) as client:
        client.sendall(b"gate")
        assert client.recv(1) == b""
    assert served(one, b"gate")
    assert [line["end"] for line in one.wait_connections(2)] == ["refused", "finished"]


def test_the_lost_end_of_an_identifier_is_a_no_and_the_next_one_is_heard(pressed):
    one = pressed("seed=1 lose=exited:1", workers=1, patience=0.5)
    with one.connect(timeout=60.0) as client:
        client.sendall(b"what is this?")
        assert client.recv(1) == b""
    assert one.wait_connections(1)[0]["end"] == "no-service"
    one.config = one.config.replace("{patience}", "60.0")
    one.write()
    one.reload(timeout=60.0)
    served(one, b"what is this?")


def test_a_lost_report_is_said_to_be_missing(pressed):
    one = pressed("seed=1 lose=reported:1", workers=1)
    with one.connect(timeout=60.0) as client:
        client.sendall(b"echo")
        assert read_exactly(client, 4) == b"echo"
        answer = one.ask(b"sessions", 60)
        assert "did not answer" in answer[-1]["error"]
        assert one.ask(b"sessions", 60)[-1]["service"] == "echo"


def test_workers_that_a_lost_order_to_go_on_does_not_reach_go_on(pressed, place):
    """The next image reads its configuration for long, and its order to go on is lost."""
    hold = place / "hold"
    one = pressed("seed=1 lose=resume:2", access=0.2, more=HOLD, directory=place,
                  USHER_HOLD=str(hold), USHER_HOLD_PATH=str(place / "usher.conf"))
    hold.touch()
    try:
        asking = threading.Thread(target=one.ask, args=(b"upgrade", 60))
        asking.start()
        wait_until(lambda: sum("goes on" in line.text for line in one.log) == 2, 60, "both workers:\n" + one.output())
        served(one, b"echo")  # by one of them: the next image still reads
        assert hold.exists() and (place / "hold.held").exists()
    finally:
        hold.unlink()
    asking.join()
    everything(one)


def test_a_lost_answer_is_not_waited_for_longer_because_an_upgrade_failed(copied, echo):
    """What asks the next image of the master has upgrade_timeout for it; here there is none, and the one that was asked has answered."""
    env = {"LD_PRELOAD": str(MESSAGES), "USHER_MESSAGES": "faults: seed=1 lose=answer:1"}
    if SANITIZED:
        env["ASAN_OPTIONS"] = SANITIZER_OPTIONS + ":verify_asan_link_order=0"
    one = copied(CONFIG + "upgrade_timeout = 3600;\n", workers=1, access=0.2, patience=60.0, echo=echo.tcp4,
                 name=echo.tcp4.rsplit(":")[-1], env=env)
    with one.connect(timeout=slow(60)) as client:
        client.sendall(b"stdio")
        wait_until(lambda: any(session.get("phase") == "spawning" for session in one.ask(b"sessions", 60)), 60, "its request")
        other = one.binary.with_name("other")
        other.write_text(f'#!/bin/sh\nrm {one.binary}\nexec {BINARY} "$@"\n')
        other.chmod(0o755)
        other.rename(one.binary)
        assert "cannot be executed" in one.ask(b"upgrade", 60)[0]["error"]
        try:
            read_all(client)
        except ConnectionResetError:  # what it had sent was not read
            pass
    (line,) = one.wait_connections(1)
    assert line["end"] == "delivery-failed" and "timed out" in line["error"].lower()
    everything(one)


def test_an_upgrade_does_not_wait_for_a_lost_answer_to_a_hold(pressed):
    one = pressed("seed=1 lose=held:1", workers=1, access=0.2)
    assert one.ask(b"upgrade", 60)[0] == {"done": "upgraded"}
    everything(one)
