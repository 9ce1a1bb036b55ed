"""Backends by names that only a module of nsswitch.conf knows, and modules that do what they should not."""

import os
import signal
import subprocess

import pytest
from harness import BINARY, BUILD, process_stat, process_title, wait_until
from name_server import WHY_NOT, NameServer
from peers import Backend

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

CONFIG = """
listen = [ "127.0.0.1:{port}" ];  workers = 1;  connect_timeout = 60;
protocols = ( { name = "go"; string = "go"; }, { name = "other"; string = "other"; } );
services = ( { name = "go"; match = "go"; connect = "{name}:{backend}"; },
             { name = "other"; match = "other"; connect = "{other}:{backend}"; } );
"""
ODD_FIRST = "hosts: files usher_test dns\n"


@pytest.fixture
def names():
    one = NameServer()
    yield one
    one.close()


@pytest.fixture
def behind():
    """Where the module says that its names are."""
    with Backend(("127.0.0.31", 0)) as one:
        yield one


@pytest.fixture
def named(usher, names, place, behind):
    def start(name, other="unknown.test", nsswitch=ODD_FIRST):
        environment = dict(os.environ, LD_LIBRARY_PATH=str(BUILD / "tests/modules"))
        return usher(CONFIG, name=name, other=other, backend=behind.port, env=environment,
                     wrapper=names.wrapper(place, nsswitch=nsswitch))

    return start


def is_served(one, behind, first=b"go"):
    with one.connect() as client:
        client.sendall(first)
        with behind.accept(60) as server:
            assert server.recv(10) == first


def helpers(one):
    (resolver,) = one.resolvers
    return subprocess.run(["ps", "-o", "pid=", "--ppid", str(resolver)], capture_output=True, text=True, check=False).stdout.split()


def test_a_name_that_a_module_knows(named, names, behind):
    one = named("known.test")
    is_served(one, behind)
    assert names.times_asked("known.test") == 0, "the module comes before DNS"
    wait_until(lambda: {process_title(pid) for pid in helpers(one)} == {"usher: names"}, 5, "the titles")


def test_a_name_that_dns_does_not_know_and_a_later_module_does(named, names, behind):
    one = named("known.test", nsswitch="hosts: files dns usher_test\n")
    is_served(one, behind)
    assert names.times_asked("known.test") > 0


def test_no_helper_runs_where_nobody_needs_it(named, names, behind):
    names.zone["app.test"] = (["127.0.0.31"], 600)
    one = named("app.test", "app.test", nsswitch="hosts: files dns\n")
    is_served(one, behind)
    assert helpers(one) == []


def test_dns_is_asked_by_the_helper_where_a_module_comes_before_it(named, names, behind):
    names.zone["app.test"] = (["127.0.0.31"], 600)
    is_served(named("app.test"), behind)
    assert names.times_asked("app.test") > 0


def test_a_module_is_locked_in(named, behind):
    """It can neither run nor write nor read what is none of its business, and is not ended for trying."""
    one = named("locked.test")
    is_served(one, behind)
    assert "helper" not in one.output()


@pytest.mark.parametrize("odd", ["crash.test", "hang.test"])
def test_a_module_that_crashes_or_hangs_keeps_no_other_name_from_being_found(named, behind, odd):
    one = named(odd, "known.test")
    if odd == "crash.test":
        wait_until(lambda: "resolve-failed" in one.output(), 60, "the crash")
    is_served(one, behind, b"other")


def test_another_nsswitch_conf_is_noticed(named, names, place, behind):
    one = named("known.test", nsswitch="hosts: files dns\n")
    wait_until(lambda: "resolve-failed" in one.output(), 60, "DNS not to know the name")
    (before,) = one.resolvers
    with open(place / "nsswitch.conf", "w", encoding="ascii") as file:  # the same file, which is mounted
        file.write(ODD_FIRST)
    wait_until(lambda: one.resolvers and one.resolvers != [before], 120, "another resolver")
    is_served(one, behind)


def test_helpers_end_with_their_resolver(named, behind):
    one = named("known.test")
    is_served(one, behind)
    before = helpers(one)
    assert before
    one.process.send_signal(signal.SIGHUP)
    wait_until(lambda: all((process_stat(pid) or ("", "Z"))[1] == "Z" for pid in before), 60, "the old helpers to be gone")
    is_served(one, behind)


def test_the_check_says_how_each_name_is_looked_up(names, place):
    (place / "usher.conf").write_text('listen = "127.0.0.1:1";\nservices = ( { name = "a"; match = "ssh"; '
                                      'connect = [ "printer.local:22", "app.test:22" ]; } );\n')
    wrap = names.wrapper(place, nsswitch="hosts: files mdns4_minimal [NOTFOUND=return] dns\n")
    done = subprocess.run(wrap([BINARY, "check", "-c", place / "usher.conf"]), capture_output=True, text=True, check=True)
    assert "\nNames\n  printer.local          the system's resolver (files mdns4_minimal dns)\n" \
           "  app.test               /etc/hosts, then DNS\n" in done.stdout
