"""Who may use a service: addresses, hours, rates, limits and access programs, over all workers and for every delivery.
Clients come from different addresses of the loopback network."""

import os
import signal
import time
from datetime import datetime, timezone

import pytest
from harness import HANG, NEVER, connect, dead_port, read_all, read_exactly, run_usher, wait_until

CONFIG = """
control = "{dir}/control";  listen = ( "127.0.0.1:{port}", "[::1]:{port}", "unix:{dir}/in.sock" );
workers = {workers};
drain_timeout = 1.0;
protocols = ( { name = "hello"; string = "hello"; } );
services = ( { name = "echo"; match = "hello"; {delivery} {rules} } );
{more}
"""


@pytest.fixture
def guarded(usher, echo):
    """guarded(rules, ...) starts an usher whose one service has them."""

    def start(rules, delivery=None, workers=2, more="", **options):
        delivery = delivery or f'connect = "{echo.tcp4}";'
        return usher(CONFIG, rules=rules, delivery=delivery, workers=workers, more=more, **options)

    return start


def come(one, source="127.0.0.1", host="127.0.0.1"):
    """A client from that source that has said hello."""
    client = connect((host, one.port), source=(source, 0))
    client.sendall(b"hello")
    return client


def is_served(client):
    """Did the echo server answer? Leaves the connection open."""
    try:
        return read_exactly(client, 5) == b"hello"
    except (EOFError, ConnectionResetError):
        return False


def visit(one, source="127.0.0.1", host="127.0.0.1"):
    try:
        with come(one, source, host) as client:
            return is_served(client)
    except (ConnectionResetError, BrokenPipeError):
        return False


def refusals(one, rule, count=1):
    return one.wait_connections(count, end="refused", rule=rule)


# ---- addresses and hours


def test_deny_wins_over_allow_and_allow_admits_only_what_it_covers(guarded):
    one = guarded('allow = [ "127.0.0.0/28", "::1" ]; deny = [ "127.0.0.6", "2001:db8::/32" ];')
    assert visit(one, "127.0.0.5") and visit(one, "::1", "::1")
    assert not visit(one, "127.0.0.6") and not visit(one, "127.0.0.16")
    (denied,) = refusals(one, "deny")
    assert denied["client"].startswith("127.0.0.6:") and denied["service"] == "echo"
    (other,) = refusals(one, "allow")
    assert other["client"].startswith("127.0.0.16:")


def test_refused_in_order_though_bytes_are_unread_or_with_a_reset(guarded):
    closing = guarded('deny = "127.0.0.0/8";')
    with come(closing) as client:
        assert read_all(client) == b""
    resetting = guarded('deny = "127.0.0.0/8"; refuse = "reset";')
    with come(resetting) as client, pytest.raises(ConnectionResetError):
        read_all(client)


@pytest.mark.parametrize("delivery", [
    'handover = "{dir}/no-receiver";', 'exec = [ "/bin/cat" ];', 'exec = [ "/bin/cat" ]; stdio = "pty";', 'reject = "close";'])
def test_every_delivery_has_the_same_rules(guarded, place, delivery):
    one = guarded('deny = "127.0.0.2"; refuse = "reset";', delivery=delivery.replace("{dir}", str(place)))
    with come(one, "127.0.0.2") as client, pytest.raises(ConnectionResetError):
        read_all(client)
    refusals(one, "deny")


def test_a_unix_client_has_no_address_to_be_refused_for(guarded):
    one = guarded('allow = "192.0.2.1"; deny = "0.0.0.0/0"; rate = "1/hour"; per_source = 1;')
    clients = [connect(one.dir / "in.sock") for _ in range(3)]
    for client in clients:
        client.sendall(b"hello")
    assert all(is_served(client) for client in clients)
    for client in clients:
        client.close()


def test_a_list_in_a_file_is_read_again_on_reload(guarded, place):
    (place / "blocked").write_text("# nobody yet\n")
    one = guarded(f'deny = "file:{place}/blocked";')
    assert visit(one, "127.0.0.9")
    (place / "blocked").write_text("127.0.0.8/29 # neighbours\n")
    one.reload()
    assert not visit(one, "127.0.0.9") and visit(one, "127.0.0.7")

    # One that is wrong changes nothing, and says where.
    (place / "blocked").write_text("127.0.0.7\n\n127.0.0.1/24\n")
    one.send_signal(signal.SIGHUP)
    one.wait_log(rf"{place}/blocked:3: `127\.0\.0\.1/24' has bits set behind the first 24")
    one.wait_log("reload refused")
    assert not visit(one, "127.0.0.9") and visit(one, "127.0.0.7")


def test_ten_thousand_entries(guarded, place):
    (place / "blocked").write_text("".join(f"10.{i // 256}.{i % 256}.0/24\n" for i in range(10000)) + "127.0.0.9\n")
    one = guarded(f'deny = "file:{place}/blocked";')
    assert visit(one) and not visit(one, "127.0.0.9")


def test_hours(guarded):
    assert visit(guarded('hours = "daily 00:00-24:00";'))
    now = datetime.now(timezone.utc)
    closed = now.strftime("%a"), (now.hour + 2) % 24, (now.hour + 3) % 24
    one = guarded('hours = [ "%s %02d:00-%02d:00 UTC" ];' % closed)
    assert not visit(one)
    refusals(one, "hours")


def test_check_tells_the_rules(place):
    (place / "check.conf").write_text("""
        listen = "127.0.0.1:1";
        services = ( { name = "ssh"; match = "ssh"; connect = "192.0.2.1:22"; allow = "192.0.2.0/24"; hours = "Mon 07:00-19:00 UTC";
                       rate = "3/minute"; per_source = 4; refuse = "reset"; } );""")
    table = run_usher("check", "-c", place / "check.conf").stdout
    for text in ("only from 192.0.2.0/24", "Mon 07:00-19:00 UTC", "at most 3/minute from one source",
                 "at most 4 connections of one source", "else a reset"):
        assert text in table


# ---- limits


def until(one, wanted, source="127.0.0.1"):
    """What was closed is given back in a moment."""
    wait_until(lambda: visit(one, source) == wanted, 5, "the limit")


def test_so_many_of_one_source_over_all_workers(guarded):
    one = guarded("per_source = 3;", workers=4)
    clients = [come(one) for _ in range(3)]
    assert all(is_served(client) for client in clients)
    assert [visit(one) for _ in range(6)] == [False] * 6
    assert visit(one, "127.0.0.2"), "another source"
    clients.pop().close()
    until(one, True)
    refusals(one, "per_source", 6)
    for client in clients:
        client.close()


def test_so_many_of_one_service_over_all_workers(guarded):
    one = guarded("max_connections = 5;", workers=4)
    clients = [come(one, f"127.0.0.{n}") for n in range(1, 6)]
    assert all(is_served(client) for client in clients)
    assert not any(visit(one, f"127.0.0.{n}") for n in range(10, 16))
    clients.pop().close()
    until(one, True)
    refusals(one, "max_connections", 6)
    for client in clients:
        client.close()


def test_so_many_in_all_over_all_workers(guarded):
    one = guarded("", workers=4, more="max_connections = 5;")
    clients = [come(one) for _ in range(5)]
    assert all(is_served(client) for client in clients)
    assert not any(visit(one) for _ in range(6))
    clients.pop().close()
    until(one, True)
    one.wait_log("max_connections reached")
    for client in clients:
        client.close()


def test_so_often_from_one_source_over_all_workers(guarded):
    one = guarded('rate = "6/hour";', workers=4)
    assert [visit(one) for _ in range(9)] == [True] * 6 + [False] * 3
    assert visit(one, "127.0.0.2")
    refusals(one, "rate", 3)


def test_a_rate_comes_back_with_time(guarded):
    one = guarded('rate = "2/second";')
    assert [visit(one) for _ in range(2)] == [True] * 2
    until(one, True)


def test_limits_and_rates_hold_across_a_reload(guarded):
    one = guarded('per_source = 2; rate = "100/hour";')
    with come(one) as first, come(one) as second:
        assert is_served(first) and is_served(second)
        one.reload()
        assert not visit(one), "those of the old workers count"
    until(one, True)


def test_what_a_killed_worker_had_is_forgotten(guarded):
    one = guarded("per_source = 2;", workers=1, may_crash=True)
    with come(one) as first, come(one) as second:
        assert is_served(first) and is_served(second) and not visit(one)
        (worker,) = one.workers
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: one.workers_but([worker]), 5, "another worker")
        assert visit(one)


def test_who_is_refused_costs_no_place(guarded):
    one = guarded('allow = "127.0.0.1"; max_connections = 2; rate = "4/hour";')
    assert not any(visit(one, "127.0.0.9") for _ in range(20))
    assert visit(one)


def test_a_service_that_takes_over_has_its_own_rules(usher, echo):
    one = usher("""
        listen = [ "127.0.0.1:{port}" ];
        services = ( { name = "first"; match = "ssh"; connect = "127.0.0.1:{dead}"; fallback = "second"; per_source = 1; },
                     { name = "second"; connect = "{echo}"; deny = "127.0.0.2"; per_source = 2; } );""",
                dead=dead_port(), echo=echo.tcp4)

    def ssh(source):
        client = connect(one.port, source=(source, 0))
        client.sendall(b"SSH-2.0-x\r\n")
        return client

    with ssh("127.0.0.2") as client:
        assert read_all(client) == b""
    (line,) = refusals(one, "deny")
    assert line["service"] == "second"
    with ssh("127.0.0.1") as first:
        assert read_exactly(first, 4) == b"SSH-"
        with ssh("127.0.0.1") as second:
            assert read_exactly(second, 4) == b"SSH-", "the place in the first service was given back"
            with ssh("127.0.0.1") as third:
                assert read_all(third) == b""


# ---- programs

CAT = 'exec = [ "/bin/cat" ];'


def program_comes(one, source="127.0.0.1"):
    client = come(one, source)
    return client if is_served(client) else client.close()


@pytest.mark.parametrize("rule, limit", [
    ("per_source = 3;", "per_source"), ("max_connections = 3;", "max_connections"),
    ("max_startups_per_source = 3;", "max_startups_per_source"), ("max_startups = 3;", "max_startups")])
@pytest.mark.parametrize("stdio", ["socket", "pipe"])
def test_programs_are_limited_and_their_places_given_back_when_they_end(guarded, rule, limit, stdio):
    one = guarded(rule, delivery=CAT + f' stdio = "{stdio}";')
    clients = [program_comes(one) for _ in range(3)]
    assert all(clients)
    assert not visit(one) and not visit(one)
    assert visit(one, "127.0.0.2") == ("source" in limit)
    refusals(one, limit, 2)
    clients.pop().close()
    until(one, True)
    for client in clients:
        client.close()


def test_programs_have_limits_where_nothing_is_said(guarded):
    one = guarded("", delivery=CAT)
    clients = [program_comes(one) for _ in range(32)]
    assert all(clients)
    assert not visit(one)
    assert visit(one, "127.0.0.2")
    refusals(one, "max_startups_per_source")
    for client in clients:
        client.close()


def test_programs_count_across_a_reload(guarded):
    one = guarded("per_source = 1;", delivery=CAT)
    with program_comes(one):
        one.reload()
        assert not visit(one)
    until(one, True)


def test_a_program_that_dies_at_once_again_and_again_is_left_alone_for_a_while(guarded):
    one = guarded("", delivery='exec = [ "/bin/sh", "-c", "exit 127" ];')
    for _ in range(10):
        assert not visit(one)
        wait_until(lambda: not one.programs(), 5, "the program's end")
    one.wait_log("dies at once again and again")
    for source in ("127.0.0.1", "127.0.0.2"):
        visit(one, source)
    refusals(one, "back-off", 2)
    started = len(one.connections(end="program-started"))
    wait_until(lambda: visit(one) or len(one.connections(end="program-started")) > started, 5, "another try")
    assert len([line for line in one.log if "again and again" in line.text]) == 1


def test_a_client_whose_programs_fail_shuts_out_nobody(guarded, place):
    script = place / "server"
    script.write_text("#!/bin/sh\ntest $REMOTE_ADDR = 127.0.0.66 && exit 255\nexec cat\n")
    script.chmod(0o755)
    one = guarded("", delivery=f'exec = [ "{script}" ];')
    for _ in range(12):
        assert not visit(one, "127.0.0.66")
        wait_until(lambda: not one.programs(), 5, "the program's end")
    assert visit(one, "127.0.0.1")
    assert not one.connections(end="refused")


# ---- access programs


def asks(place, text):
    script = place / "access"
    script.write_text("#!/bin/sh\n" + text)
    script.chmod(0o755)
    return f'access = [ "{script}", "one word", "two" ];'


def test_an_access_program_has_the_last_word(guarded, place):
    one = guarded(asks(place, "test $REMOTE_ADDR != 127.0.0.2 -a $USHER_SERVICE = echo -a $USHER_PROTOCOL = hello "
                              "-a $TCPLOCALIP = 127.0.0.1 -a '$1' = '$1' -a $2 = two\n"))
    assert visit(one) and not visit(one, "127.0.0.2")
    (line,) = refusals(one, "access")
    assert line["client"].startswith("127.0.0.2:")


@pytest.mark.parametrize("text", ["exit 1", "exit 127", "kill -SEGV $$", "kill -9 $$"])
def test_any_other_end_of_it_refuses(guarded, place, text):
    one = guarded(asks(place, text), may_crash=True)
    assert not visit(one)
    refusals(one, "access")


def test_it_sees_neither_the_client_nor_anything_of_usher(guarded, place):
    one = guarded(asks(place, 'for fd in 0 1 2; do test "$(readlink /proc/$$/fd/$fd)" = /dev/null || exit 1; done\n'
                              "echo nonsense\necho nonsense >&2\ntest $(ls /proc/self/fd | wc -l) -le 4\n"))
    with come(one) as client:
        assert is_served(client)
        client.sendall(b" again")
        assert read_exactly(client, 6) == b" again"


def test_one_that_hangs_refuses_after_access_timeout_and_holds_up_nobody(guarded, place):
    hangs = asks(place, f"test $REMOTE_ADDR = 127.0.0.2 && sleep {NEVER}\nexit 0\n")
    one = guarded(hangs, workers=1, more="access_timeout = 3;")
    begin = time.monotonic()
    with come(one, "127.0.0.2") as slow_one:
        for _ in range(5):
            assert visit(one)
        assert read_all(slow_one) == b""
    assert time.monotonic() - begin > 2.9
    refusals(one, "access")
    wait_until(lambda: not one.programs(), 5, "its end")


def test_a_client_that_leaves_while_it_is_asked_about_leaves_nothing(guarded, place):
    one = guarded(asks(place, "sleep 0.3\nexit 0\n"))
    for _ in range(5):
        come(one).close()
    one.wait_connections(5)
    assert visit(one)


def test_limits_come_before_it_and_a_refusal_gives_the_place_back(guarded, place):
    counted = place / "count"
    counted.mkdir(mode=0o777)
    counted.chmod(0o777)
    one = guarded("per_source = 1; " + asks(place, f"mktemp {counted}/XXXXXX >/dev/null\ntest -e {place}/open\n"))
    assert not visit(one) and not visit(one)
    (place / "open").touch()
    with come(one) as client:
        assert is_served(client)
        assert not visit(one)
    refusals(one, "access", 2)
    refusals(one, "per_source", 1)
    assert len(list(counted.iterdir())) == 3


def test_one_may_take_as_long_as_access_timeout(guarded, place):
    """A slow machine's programs are not refused for their slowness."""
    one = guarded(asks(place, f"until test -e {place}/go; do sleep 0.05; done\nexit 0\n"), more=f"access_timeout = {NEVER};")
    with come(one) as client:
        wait_until(lambda: len(one.programs()) == 1, 5, "the program")
        client.settimeout(3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(HANG)
        (place / "go").touch()
        assert is_served(client)


def test_no_answer_is_lost_while_a_worker_does_not_read(usher, echo, place):
    rules = asks(place, f"until test -e {place}/go; do sleep 0.5; done\nexit 0\n")
    one = usher(f"""listen = [ "127.0.0.1:{{port}}" ];  workers = 1;  access_timeout = {NEVER};
        services = ( {{ name = "one"; match = "http"; connect = "{echo.tcp4}"; {rules} }},
                     {{ name = "two"; match = "ssh"; connect = "{echo.tcp4}"; {rules} }} );""")
    sent, clients = (b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n"), []
    for i in range(240):  # of ten sources: each has its limit too
        client = connect(("127.0.0.1", one.port), source=(f"127.0.0.{2 + i // 2 % 10}", 0))
        client.sendall(sent[i % 2])
        clients.append(client)
        if i % 20 == 19:  # a busy machine starts few in the time that a request may take
            wait_until(lambda: len(one.programs()) == len(clients), 5, "the programs")
    (worker,) = one.workers
    os.kill(worker, signal.SIGSTOP)
    (place / "go").touch()
    try:
        wait_until(lambda: not one.programs(), 10, "the end of the programs")
        time.sleep(0.2)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert [read_exactly(client, 4) for client in clients] == 120 * [b"GET ", b"SSH-"]
    for client in clients:
        client.close()
