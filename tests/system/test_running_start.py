"""Starting: in the foreground, in the background, from systemd; the pid file; what keeps usher from it."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest
from harness import (
    BINARY,
    ENVIRONMENT,
    IS_ROOT,
    accepts,
    children,
    connect,
    end_process,
    free_port,
    process_stat,
    read_exactly,
    run_usher,
    slow,
    wait_until,
    write_config,
)
from peers import HandedUsher, serves

SERVICES = """
protocols = ( { name = "go"; string = "go"; } );
services = ( { name = "go"; match = "go"; exec = [ "/bin/cat" ]; } );
"""


def process_status(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture
def background(place):
    """background() starts `usher run -d`: (its finished starter, port). What serves ends by its pid file."""
    pid_file = place / "pid"

    def start(extra="", port=None, **options):
        port = port or free_port()
        config = write_config(
            place,
            f'listen = [ "127.0.0.1:{port}" ];  workers = 2;  pid_file = "{pid_file}";'
            f'  log = {{ to = "{place}/log"; }};' + SERVICES + extra,
        )
        starter = subprocess.run(
            [BINARY, "run", "-d", "-c", config], timeout=slow(15), env=ENVIRONMENT, **options
        )
        return starter, port

    yield start
    if pid_file.exists():
        end_background(int(pid_file.read_text()))


def end_background(pid, number=signal.SIGTERM):
    below = children(pid)
    os.kill(pid, number)
    wait_until(
        lambda: all((process_stat(one) or ("", "Z"))[1] == "Z" for one in (pid, *below)), 8, "it to end"
    )


# ---- in the foreground


def test_in_the_foreground_until_told_to_end(usher):
    one = usher('listen = [ "127.0.0.1:{port}" ];  workers = 3;' + SERVICES)
    assert serves(one.port) and len(one.workers) == 3
    names = {(process_stat(pid) or ("",))[0] for pid in [one.pid, *children(one.pid)]}
    assert {"usher: master", "usher: worker", "usher: logger"} <= names
    one.stop()
    assert not accepts(("127.0.0.1", one.port))


def test_run_is_what_it_does_without_a_subcommand(usher, place):
    port = free_port()
    config = write_config(place, f'listen = [ "127.0.0.1:{port}" ];' + SERVICES)
    process = subprocess.Popen([BINARY, "-c", config], stderr=subprocess.PIPE, env=ENVIRONMENT)
    wait_until(lambda: accepts(("127.0.0.1", port)), 5)
    assert end_process(process) == 0


def test_the_port_of_the_command_line_replaces_those_of_ip_listeners(usher):
    port = free_port()
    one = usher(
        'listen = [ "127.0.0.1:{port_a}", "[::1]:{port_b}", "unix:{dir}/in" ];  workers = 1;' + SERVICES,
        args=["-p", port],
    )
    for address in (("127.0.0.1", port), ("::1", port), one.dir / "in"):
        with connect(address) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
    for name in ("port_a", "port_b"):
        assert not accepts(("127.0.0.1", one.ports[name])) and not accepts(("::1", one.ports[name]))


def test_both_families_on_one_port(usher):
    one = usher('listen = [ "0.0.0.0:{port}", "[::]:{port}" ];  workers = 1;' + SERVICES)
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        with connect((host, one.port)) as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"


def test_unix_listeners_have_their_mode_and_go_with_usher(usher):
    one = usher(
        """listen = ( { address = "unix:{dir}/a"; mode = 0600; }, { address = "unix:{dir}/b"; mode = 0777; },
                              "unix:{dir}/c" );
                   workers = 1;"""
        + SERVICES
    )
    modes = {name: (one.dir / name).stat().st_mode & 0o777 for name in "abc"}
    assert modes == {"a": 0o600, "b": 0o777, "c": 0o660}
    one.stop()
    assert not any((one.dir / name).exists() for name in "abc")


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(usher, place):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(place / "in"))
    usher(f'listen = [ "unix:{place}/in" ];  workers = 1;' + SERVICES)
    with connect(place / "in") as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
    config = write_config(place, f'listen = [ "unix:{place}/in" ];' + SERVICES)
    second = run_usher("run", "-c", config)
    assert (
        second.returncode == 1
        and f"{config}:1: cannot listen on unix:{place}/in: Address already in use" in second.stderr
    )
    with connect(place / "in") as client:
        client.sendall(b"go")
        assert read_exactly(client, 2) == b"go"
    (place / "file").write_text("precious")
    config = write_config(place, f'listen = [ "unix:{place}/file" ];' + SERVICES)
    assert run_usher("run", "-c", config).returncode == 1
    assert (place / "file").read_text() == "precious"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("option", ["", "-d"])
def test_started_with_closed_descriptors(place, closed, option):
    port = free_port()
    config = write_config(
        place,
        f'listen = [ "127.0.0.1:{port}" ];  workers = 1;  pid_file = "{place}/pid";'
        f'log = {{ to = "{place}/log"; }};' + SERVICES,
    )
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$0" run {option} -c "$1" {closed}', BINARY, config], env=ENVIRONMENT
    )
    wait_until(
        lambda: (place / "log").exists() and "serving" in (place / "log").read_text(), 5, "it to serve"
    )
    if option:
        assert process.wait(slow(5)) == 0
    pid = int((place / "pid").read_text())
    for _ in range(3):
        assert serves(port)
    wait_until(lambda: (place / "log").read_text().count(" connection ") == 3, 3, "its log")
    end_background(pid)
    assert process.wait(slow(5)) == 0
    assert not (place / "pid").exists()


# ---- in the background


def test_in_the_background_once_it_serves(background, place):
    starter, port = background()
    assert starter.returncode == 0
    assert serves(port), "it must serve by the time that its starter has ended"
    pid = int((place / "pid").read_text())
    assert process_stat(pid)[0] == "usher: master" and os.getsid(pid) == pid
    end_background(pid)
    assert not (place / "pid").exists()


def test_in_the_background_it_lets_go_of_the_starters_descriptors(background, place):
    """Or `ssh host usher -d` and `x=$(usher -d)` would never come back."""
    starter, port = background(
        capture_output=True, stdin=subprocess.DEVNULL
    )  # returns with the end of both streams
    assert starter.returncode == 0 and starter.stdout == b"" and starter.stderr == b""
    assert serves(port)
    pid = int((place / "pid").read_text())
    if IS_ROOT:
        for one in (pid, *children(pid)):
            if not (process_stat(one) or ("",))[0].startswith("usher"):
                continue
            found = [os.readlink(f"/proc/{one}/fd/{fd}") for fd in (0, 1, 2)]
            if process_stat(one)[0] == "usher: worker":  # whose standard error is the log
                assert found[2] in {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
                found[2] = "/dev/null"
            assert found == ["/dev/null"] * 3, process_stat(one)


def test_in_the_background_failures_come_through(background, place):
    starter, _ = background('nonsense = 1;', stderr=subprocess.PIPE)
    assert starter.returncode == 2 and b"unknown key `nonsense'" in starter.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        starter, _ = background(port=taken.getsockname()[1], stderr=subprocess.PIPE)
        assert starter.returncode == 1 and b"Address already in use" in starter.stderr
    assert not (place / "pid").exists()
    starter, port = background()
    assert starter.returncode == 0 and serves(port)


def test_in_the_background_a_second_one_is_refused(background, place):
    _, port = background()
    pid = (place / "pid").read_text()
    other = free_port()
    starter, _ = background(port=other, stderr=subprocess.PIPE)
    assert (
        starter.returncode == 1 and f"usher runs already, as process {pid.strip()}".encode() in starter.stderr
    )
    assert (place / "pid").read_text() == pid and serves(port) and not accepts(("127.0.0.1", other))


# ---- the pid file


@pytest.fixture
def with_pid_file(usher, place):
    def start(serving=True, **options):
        return usher(
            'listen = [ "127.0.0.1:{port}" ];  workers = 1;  pid_file = "{pid_file}";' + SERVICES,
            pid_file=place / "pid",
            serving=serving,
            **options,
        )

    return start


@pytest.mark.parametrize("stale", ["999999999\n", "0\n", "", "rubbish\n", "-1\n", "12 34\n", "x" * 1000])
def test_a_stale_pid_file_is_replaced(with_pid_file, place, stale):
    (place / "pid").write_text(stale)
    one = with_pid_file()
    assert (place / "pid").read_text() == f"{one.pid}\n"
    assert (place / "pid").stat().st_mode & 0o777 == 0o644
    one.stop()
    assert not (place / "pid").exists()


def test_the_pid_file_of_a_killed_one_is_replaced(with_pid_file, place):
    one = with_pid_file(may_crash=True, status=-signal.SIGKILL)
    os.kill(one.pid, signal.SIGKILL)
    one.process.wait()
    assert (place / "pid").read_text() == f"{one.pid}\n"
    second = with_pid_file()
    assert (place / "pid").read_text() == f"{second.pid}\n"


def test_the_number_of_another_program_in_the_pid_file_is_stale_too(with_pid_file, place):
    """After a crash the number may have gone to somebody else."""
    (place / "pid").write_text(f"{os.getpid()}\n")
    one = with_pid_file()
    assert (place / "pid").read_text() == f"{one.pid}\n"


@pytest.mark.parametrize("kind", ["symlink", "dangling", "directory", "fifo"])
def test_a_pid_file_that_is_no_file_is_refused(with_pid_file, place, kind):
    target = place / "target"
    if kind == "symlink":
        target.write_text("999999999\n")
        (place / "pid").symlink_to(target)
    elif kind == "dangling":
        (place / "pid").symlink_to(target)
    elif kind == "directory":
        (place / "pid").mkdir()
    else:
        os.mkfifo(place / "pid")
    one = with_pid_file(serving=False, status=1)
    assert one.process.wait(slow(5)) == 1
    assert f"cannot write the pid file {place}/pid" in one.output()
    if kind == "symlink":
        assert target.read_text() == "999999999\n" and (place / "pid").is_symlink()
    elif kind == "dangling":
        assert not target.exists()


def test_a_pid_file_where_nothing_can_be_written(usher):
    one = usher(
        'listen = [ "127.0.0.1:{port}" ];  pid_file = "/nowhere/at/all/pid";' + SERVICES,
        serving=False,
        status=1,
    )
    assert one.process.wait(slow(5)) == 1
    assert "cannot write the pid file /nowhere/at/all/pid: No such file or directory" in one.output()


def test_somebody_elses_pid_file_is_left_alone_at_the_end(with_pid_file, place):
    one = with_pid_file()
    (place / "pid").write_text("999999999\n")
    one.stop()
    assert (place / "pid").read_text() == "999999999\n"


# ---- handed over by systemd


def test_sockets_that_were_handed_over_are_used_where_they_match():
    with socket.create_server(("127.0.0.1", 0)) as handed, socket.create_server(("127.0.0.1", 0)) as unused:
        port = handed.getsockname()[1]
        one = HandedUsher(
            [handed, unused],
            f'listen = [ "127.0.0.1:{port}", "127.0.0.1:{{port_own}}" ];  workers = 2;' + SERVICES,
        )
        one.start()
        for _ in range(5):
            assert serves(port) and serves(one.ports["port_own"])
        one.stop()
        # The handed one is still the giver's: whoever comes now waits for the next usher.
        with connect(port) as client:
            client.sendall(b"go")
            second = HandedUsher(
                [handed], f'listen = [ "127.0.0.1:{port}" ];  workers = 1;' + SERVICES
            ).start()
            assert read_exactly(client, 2) == b"go"
        second.stop()
        for each in (one, second):
            each.clean()


def test_connections_of_a_handed_socket_have_the_options_of_our_own(usher):
    """TCP_NODELAY and keepalive, which accepted sockets inherit."""
    with socket.create_server(("127.0.0.1", 0)) as handed:
        one = HandedUsher(
            [handed], f'listen = [ "127.0.0.1:{handed.getsockname()[1]}" ];  workers = 1;' + SERVICES
        ).start()
        assert handed.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) and handed.getsockopt(
            socket.SOL_SOCKET, socket.SO_KEEPALIVE
        )
        one.stop()
        one.clean()


def test_a_unix_socket_that_was_handed_over_stays_at_the_end(place):
    with socket.socket(socket.AF_UNIX) as handed:
        handed.bind(str(place / "in"))
        (place / "in").chmod(0o777)
        handed.listen(10)
        one = HandedUsher([handed], f'listen = [ "unix:{place}/in" ];  workers = 1;' + SERVICES).start()
        with connect(place / "in") as client:
            client.sendall(b"go")
            assert read_exactly(client, 2) == b"go"
        one.stop()
        assert (place / "in").exists()
        one.clean()


def test_systemd_is_told_of_the_start_the_reload_and_the_end(usher, place):
    """sd_notify(3): one datagram for each state."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(place / "notify"))
        listener.settimeout(slow(5))
        one = usher(
            'listen = [ "127.0.0.1:{port}" ];  workers = 1;' + SERVICES,
            env={"NOTIFY_SOCKET": str(place / "notify")},
        )
        assert b"READY=1" in listener.recv(1000) and serves(one.port)
        one.send_signal(signal.SIGHUP)
        assert b"RELOADING=1" in listener.recv(1000)
        assert b"READY=1" in listener.recv(1000)
        one.write("nonsense")
        one.send_signal(signal.SIGHUP)
        assert b"RELOADING=1" in listener.recv(1000)
        assert b"READY=1" in listener.recv(1000), "also where the reload is refused"
        one.send_signal(signal.SIGTERM)
        assert b"STOPPING=1" in listener.recv(1000)


# ---- what keeps it from starting


def test_a_port_in_use_names_who_holds_it(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(place, f'workers = 1;\nlisten = [\n  "127.0.0.1:{port}" ];' + SERVICES)
        done = run_usher("run", "-c", config)
        name = process_stat(os.getpid())[0]
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr == (
            f"usher: {config}:3: cannot listen on 127.0.0.1:{port}: Address already in use, held by "
            f"{name}, pid {os.getpid()}\n"
        )


@pytest.mark.parametrize(
    "taken_address,wanted",
    [(("0.0.0.0", 0), "127.0.0.1:{}"), (("::1", 0), "[::1]:{}"), (("127.0.0.1", 0), "0.0.0.0:{}")],
)
def test_a_port_in_use_on_overlapping_addresses(place, taken_address, wanted):
    family = socket.AF_INET6 if ":" in taken_address[0] else socket.AF_INET
    with socket.create_server(taken_address, family=family) as taken:
        config = write_config(place, f'listen = [ "{wanted.format(taken.getsockname()[1])}" ];' + SERVICES)
        done = run_usher("run", "-c", config)
        assert done.returncode == 1 and f"pid {os.getpid()}" in done.stderr, done.stderr


def test_the_holder_is_the_one_of_that_very_address(place):
    """Another process with the same port on another address is not to blame."""
    with contextlib.ExitStack() as innocents:
        port = innocents.enter_context(socket.create_server(("127.0.0.3", 0))).getsockname()[1]
        for number in range(4, 12):
            innocents.enter_context(socket.create_server((f"127.0.0.{number}", port)))
        script = (
            "import socket, time\n"
            f"held = socket.create_server(('127.0.0.1', {port}))\nprint(flush=True)\ntime.sleep(60)"
        )
        holder = subprocess.Popen(["python3", "-c", script], stdout=subprocess.PIPE)
        holder.stdout.readline()
        try:
            done = run_usher("run", "-c", write_config(place, f'listen = [ "127.0.0.1:{port}" ];' + SERVICES))
            assert f"pid {holder.pid}" in done.stderr, done.stderr
        finally:
            end_process(holder)


def test_one_of_several_ports_in_use_leaves_nothing_behind(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = free_port()
        config = write_config(
            place,
            f'listen = [ "127.0.0.1:{port}", "unix:{place}/in", "127.0.0.1:{taken.getsockname()[1]}" ];  '
            f'pid_file = "{place}/pid";' + SERVICES,
        )
        assert run_usher("run", "-c", config).returncode == 1
        assert not (place / "in").exists() and not (place / "pid").exists()


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to become nobody")
def test_a_low_port_without_root_is_a_clear_error(place):
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("everybody may listen on low ports here")
    binary = place / "usher"
    shutil.copy(BINARY, binary)
    config = write_config(place, 'listen = [ "127.0.0.1:80" ];' + SERVICES)
    as_nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    done = subprocess.run(
        [*as_nobody, binary, "run", "-c", config],
        capture_output=True,
        text=True,
        timeout=slow(10),
        env=ENVIRONMENT,
    )
    assert done.returncode == 1
    assert (
        f"{config}:1: cannot listen on 127.0.0.1:80: Permission denied" in done.stderr
        and "needs root" in done.stderr
    )
    # And on a high one it serves as whoever started it.
    port = free_port()
    write_config(place, f'listen = [ "127.0.0.1:{port}" ];' + SERVICES)
    process = subprocess.Popen(
        [*as_nobody, binary, "run", "-c", config], stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    wait_until(lambda: accepts(("127.0.0.1", port)), 5)
    assert serves(port)
    usher_uids = set()
    for pid in children(process.pid):
        status = process_status(pid)
        if status.get("Name", "").startswith("usher"):  # not the program, which may end at any moment
            usher_uids |= set(status["Uid"].split())
    assert usher_uids == {"65534"}
    assert end_process(process) == 0


@pytest.mark.skipif(not IS_ROOT, reason="needs root: started by somebody else it stays who it is")
def test_workers_and_logger_of_root_are_nobody_and_powerless(usher):
    one = usher('listen = [ "127.0.0.1:{port}" ];  user = "nobody";' + SERVICES)
    for pid in (*one.workers, *one.loggers):
        status = dict(
            line.split(":\t", 1)
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert set(status["Uid"].split()) == {"65534"} and 0 not in map(int, status["Gid"].split())
        assert status["Groups"].strip() == "" and status["NoNewPrivs"] == "1"
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to look into workers")
def test_workers_hold_nothing_that_they_do_not_need(usher):
    one = usher(
        'listen = [ "127.0.0.1:{port}" ];  workers = 2;  pid_file = "{dir}/pid";'
        'log = { to = "{dir}/log"; };' + SERVICES
    )
    for pid in one.workers:
        held = sorted(
            os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2
        )
        kinds = [re.sub(r"\[.*", "", what) for what in held]
        assert sorted(kinds) == ["anon_inode:", "pipe:", "socket:", "socket:"], held


def test_the_hard_limit_of_descriptors_is_used(usher):
    one = usher(
        'listen = [ "127.0.0.1:{port}" ];  workers = 1;' + SERVICES,
        wrapper=lambda command: ["prlimit", "--nofile=100:2000", *command],
    )
    limits = pathlib.Path(f"/proc/{one.workers[0]}/limits").read_text()
    assert re.search(r"Max open files +2000 +2000 ", limits), limits


def test_usage_errors():
    for args, wanted in (
        (["run", "-x"], "usher: invalid option -- 'x'\nusage"),
        (["-x"], "usher: invalid option -- 'x'\nusage"),
        (["check", "-x"], "usher: invalid option -- 'x'\nusage"),
        (["run", "more"], "usage"),
        (["-d", "-i"], "usage"),
        (["nonsense"], "unknown command"),
        (["run", "-p", "0"], "1 to 65535"),
        (["run", "-p", "65536"], "1 to 65535"),
        (["run", "-p", "80x"], "1 to 65535"),
        (["run", "-p", "-1"], "1 to 65535"),
        (["check", "more"], "usage"),
        (["run", "-c"], "usage"),
    ):
        done = run_usher(*args)
        assert done.returncode == 2 and wanted in done.stderr and done.stdout == "", (args, done)


def test_help_and_version():
    done = run_usher("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("run", "check", "demo", "Exit status"):
        assert word in done.stdout
    assert run_usher("-h").stdout == run_usher("help").stdout == done.stdout
    done = run_usher("--version")
    assert done.returncode == 0 and re.match(r"usher \d+\.\d+", done.stdout) and "libconfig" in done.stdout
    assert run_usher("-V").stdout == done.stdout


def commands():
    return re.findall(r"^  ([a-z-]+)  ", run_usher("--help").stdout, re.M)


def test_every_command_has_a_help_of_its_own_that_fits_a_terminal():
    everything = [run_usher("--help")]
    for name in commands():
        done = run_usher("help", name)
        everything.append(done)
        assert done.returncode == 0 and done.stdout.startswith("usage: usher "), name
        if name not in ("tcpmux", "sslh", "portsplit", "sniproxy"):
            assert run_usher(name, "--help").stdout == run_usher(name, "-h").stdout == done.stdout, name
    assert len(everything) > 10
    assert not [line for one in everything for line in one.stdout.splitlines() if len(line) > 80]


def test_options_have_long_names(place):
    config = write_config(place, 'listen = "127.0.0.1:1"; services = ( { name = "all"; match = "ssh"; reject = "close"; } );')
    done = run_usher("check", "-c", config)
    assert done.returncode == 0
    for args in (["check", "--config", config], ["run", "-t", "-c", config], ["-t", "-c", config], ["--test", "--config", config]):
        again = run_usher(*args)
        assert (again.returncode, again.stdout) == (0, done.stdout), args
    assert "127.0.0.1:77" in run_usher("run", "--test", "--port", "77", "--config", config).stdout
