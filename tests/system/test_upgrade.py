"""`usher upgrade`: another build takes this process over, with its pid, its sockets and every connection. One that would not
serve is found out before."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from harness import BINARY, BUILD, children, connect, count_fds, process_title, read_all, read_exactly, slow, wait_until
from peers import exchange, fill, how_it_ends, pair
from migrations import SERVICES, load_and_nobody_notices, replaces_workers


def upgrade(one):
    """Through the control socket; the answer's one object."""
    (answer,) = one.ask(b"upgrade", 25)
    one.seen.look()
    return answer


def succeed(one):
    with replaces_workers(one):
        assert upgrade(one) == {"done": "upgraded"}


def replace(one, text):
    """As a package does it: another file takes the name."""
    other = one.binary.with_name("other")
    other.write_text(text)
    other.chmod(0o755)
    other.rename(one.binary)


def test_a_session_goes_on_under_the_same_pid_in_another_image(copied, backend):
    one = copied()
    client, server = pair(one, backend)
    down = fill(server, 0.3)
    (before,) = one.ask(b"sessions")
    image = os.stat(f"/proc/{one.pid}/exe").st_ino
    other = one.binary.with_name("other")
    shutil.copy(BINARY, other)
    other.rename(one.binary)
    for _ in range(2):
        succeed(one)
        assert one.process.poll() is None
    assert os.stat(f"/proc/{one.pid}/exe").st_ino != image
    (after,) = one.ask(b"sessions")
    assert (after["id"], after["client"], after["service"]) == (before["id"], before["client"], "go")
    assert one.ask(b"status")[0]["pid"] == one.pid
    server.shutdown(socket.SHUT_WR)
    client.shutdown(socket.SHUT_WR)
    assert len(read_all(client)) == down and read_all(server) == b""
    line = one.wait_connections(1)[0]
    assert (line["end"], line["id"], int(line["bytes_down"])) == ("finished", str(before["id"]), down)


def test_sigusr2_and_the_command_do_the_same(copied, backend):
    one = copied()
    client, server = pair(one, backend)
    old = set(one.workers)
    one.send_signal(signal.SIGUSR2)
    wait_until(lambda: one.workers_but(old), 5, "other workers")
    done = subprocess.run([BINARY, "upgrade", "-s", one.dir / "control"], capture_output=True, text=True, timeout=slow(20),
                          check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "upgraded\n", "")
    exchange(client, server, 1000, 1000)


def test_with_a_module_that_is_loaded_in_the_trial_too(copied, backend, place):
    """What a worker tells the master of a module must have a place there as well."""
    shutil.copy(BUILD / "tests/modules/odd_sound.so", place / "module.so")
    (place / "module.so").chmod(0o755)
    one = copied(SERVICES.replace("services = (", f'identifiers = ( {{ module = "{place}/module.so"; }} );\nservices = (', 1))
    client, server = pair(one, backend)
    succeed(one)
    exchange(client, server, 1000, 1000)


def test_counters_limits_and_the_age_go_on(copied, backend):
    one = copied(access="per_source = 1;")
    pair(one, backend)
    (before,) = one.ask(b"status")
    time.sleep(1.1)
    succeed(one)
    (after,) = one.ask(b"status")
    service = {s["name"]: s for s in after["services"]}["go"]
    assert (service["open"], service["total"]) == (1, 1)
    assert after["since"] == before["since"] if "since" in before else True
    second = one.connect()
    second.sendall(b"go")
    assert how_it_ends(second) == "eof"
    assert one.wait_connections(1)[0]["rule"] == "per_source"
    assert int(one.connections()[0]["id"]) == 2


def test_no_descriptor_is_left_behind(copied, backend):
    one = copied(workers=2)
    pair(one, backend)
    succeed(one)
    wait_until(lambda: len(one.loggers) == 1, 30, "one logger")
    before = count_fds(one.pid)  # one more, where the last thing is not closed yet: four upgrades would leave four
    for _ in range(4):
        succeed(one)
    wait_until(lambda: count_fds(one.pid) <= before, 30, f"{before} descriptors, not {count_fds(one.pid)}")
    wait_until(lambda: len(one.loggers) == 1, 30, "one logger")


def test_programs_go_on_and_still_count(copied):
    one = copied("""
        listen = [ "127.0.0.1:{port}" ];  control = "{dir}/control";
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "cat"; match = "go"; exec = [ "/bin/cat" ]; stdio = "pipe"; max_connections = 1; } );
        """)
    client = one.connect()
    client.sendall(b"go\n")
    assert read_exactly(client, 3) == b"go\n"
    succeed(one)
    with one.connect() as second:
        second.sendall(b"go\n")
        assert how_it_ends(second) == "eof"
    assert one.wait_connections(1)[0]["rule"] == "max_connections"
    client.sendall(b"more\n")
    assert read_exactly(client, 5) == b"more\n"
    client.close()
    wait_until(lambda: not one.programs(), 5, "the program to be reaped")
    with one.connect() as third:
        third.sendall(b"go\n")
        assert read_exactly(third, 3) == b"go\n"


def test_an_access_program_s_verdict_is_waited_for(copied, backend, place):
    judge = place / "judge"
    judge.write_text("#!/bin/sh\nsleep 1\nexit 0\n")
    judge.chmod(0o755)
    one = copied(access=f'access = [ "{judge}" ];')
    client = one.connect()
    client.sendall(b"go")
    time.sleep(0.3)
    succeed(one)
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    exchange(client, server, 1000, 1000)


def test_unix_listeners_and_the_new_configuration(copied, backend):
    config = SERVICES.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "unix:{dir}/in"')
    one = copied(config)
    inode = (one.dir / "in").stat().st_ino
    one.write(config.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port}", "127.0.0.1:{port_b}"'))
    succeed(one)
    assert (one.dir / "in").stat().st_ino == inode
    for address in (one.dir / "in", one.ports["port_b"], one.ports["port"]):
        with connect(address) as client:
            client.sendall(b"go")
            server = backend.accept()
            assert read_exactly(server, 2) == b"go"
            server.close()


def test_a_backend_that_has_a_name(copied, backend):
    """Its resolver is another after the upgrade, and the only one."""
    one = copied(SERVICES.replace("127.0.0.1:{backend}", "localhost:{backend}"))
    (old,) = wait_until(lambda: one.resolvers, 5, "a resolver")
    succeed(one)
    wait_until(lambda: len(one.resolvers) == 1 and one.resolvers != [old], 5, "another resolver")
    pair(one, backend)


def test_its_processes_have_the_same_titles(copied, backend):
    one = copied(SERVICES.replace("127.0.0.1:{backend}", "localhost:{backend}"))
    pair(one, backend)
    succeed(one)
    expected = {"usher: master", "usher: worker", "usher: logger", "usher: resolver"}
    wait_until(lambda: {process_title(pid) for pid in [one.pid, *children(one.pid)]} == expected, 10,
               "these titles, and none of a process that has just ended")


def test_in_the_background_with_a_pid_file(copied, backend):
    one = copied(SERVICES + 'pid_file = "{dir}/pid";')
    succeed(one)
    assert int((one.dir / "pid").read_text()) == one.pid
    one.send_signal(signal.SIGTERM)
    assert one.process.wait(slow(10)) == 0
    assert not (one.dir / "pid").exists() and not (one.dir / "control").exists()


def test_systemd_hears_of_it(copied, place):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(place / "notify"))
        notify.settimeout(slow(10))
        one = copied(env={"NOTIFY_SOCKET": str(place / "notify")})
        assert notify.recv(200) == b"READY=1"
        succeed(one)
        assert notify.recv(200).startswith(b"RELOADING=1")
        assert notify.recv(200) == b"READY=1"


def test_sockets_handed_over_at_start_stay(copied, backend):
    """Not taken a second time for sockets that systemd hands over now."""
    one = copied()
    assert "LISTEN_FDS" not in pathlib.Path(f"/proc/{one.pid}/environ").read_text(errors="replace")
    succeed(one)
    pair(one, backend)


# ---- what would not serve


def refused(one, backend, *words):
    old = one.workers
    client, server = pair(one, backend)
    answer = upgrade(one)
    for word in words:
        assert word in answer["error"], answer
    assert one.workers == old and one.process.poll() is None
    exchange(client, server, 1000, 1000)
    client, server = pair(one, backend)
    exchange(client, server, 1000, 1000)
    one.wait_log("upgrade refused: ")


def test_a_binary_that_is_not_there(copied, backend):
    one = copied()
    one.binary.unlink()
    refused(one, backend, "cannot be started", "No such file")


def test_a_binary_that_fails(copied, backend):
    one = copied()
    replace(one, "#!/bin/sh\necho 'no library libnew.so' >&2\nexit 127\n")
    refused(one, backend, "status 127", "no library libnew.so")


def test_a_binary_that_crashes(copied, backend):
    one = copied(may_crash=True)
    replace(one, "#!/bin/sh\nkill -SEGV $$\n")
    refused(one, backend, "signal 11")


def test_a_binary_that_cannot_start_its_workers(copied, backend):
    one = copied()
    # A sanitizer's search for leaks wants descriptors of its own.
    replace(one, '#!/bin/sh\nif [ -n "$USHER_TRIAL" ]; then ulimit -n 8; export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"; fi\n'
            f'exec {BINARY} "$@"\n')
    refused(one, backend, "status 1", "Too many open files")


def test_a_binary_that_hangs(copied, backend):
    one = copied(SERVICES + "upgrade_timeout = 2.0;")
    replace(one, "#!/bin/sh\nexec sleep 1000\n")
    refused(one, backend, "within upgrade_timeout, 2 s")
    wait_until(lambda: not one.programs(), 5, "the trial to be gone")


def test_a_binary_of_another_format(copied, backend):
    one = copied()
    replace(one, f'#!/bin/sh\nsed "s/message/massage/" | exec {BINARY} "$@"\n')
    refused(one, backend, "of a version that this one cannot follow")


def test_a_configuration_that_does_not_compile(copied, backend):
    one = copied()
    one.write(SERVICES + "\nnonsense = 1;\n")
    refused(one, backend, "status 2", "usher.conf:", "nonsense")


def test_one_that_passes_the_trial_and_cannot_be_executed(copied, backend):
    """Gone in between: the old one goes on, held connections too."""
    one = copied()
    replace(one, f'#!/bin/sh\nrm {one.binary}\nexec {BINARY} "$@"\n')
    undecided = one.connect()
    undecided.sendall(b"g")
    refused(one, backend, "cannot be executed", "No such file")
    undecided.sendall(b"o")
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"


def test_one_whose_new_workers_fail_after_the_takeover(copied, backend):
    """It passed the trial: the old workers go on under the new master."""
    for most in range(36, 8, -1):  # one descriptor fewer each time: the last that are made are the workers'
        one = copied(workers=8)
        replace(one, f'#!/bin/sh\n[ -n "$USHER_TRIAL" ] || ulimit -n {most}\nexec {BINARY} "$@"\n')
        client, server = pair(one, backend)
        old = one.workers
        answer = upgrade(one)
        if "error" in answer:
            break
        client.close()
        server.close()
        one.stop()
        shutil.copy(BINARY, one.binary)
    assert "the old ones go on" in answer["error"], answer
    wait_until(lambda: one.workers == old, 5, "the new ones to be gone")
    exchange(client, server, 1000, 1000)
    client, server = pair(one, backend)
    exchange(client, server, 1000, 1000)


def test_clients_of_programs_wait_while_the_next_image_has_no_configuration_yet(copied):
    """Longer than the 10 s that the answer to a request of a worker's may take otherwise."""
    config = """
        listen = [ "127.0.0.1:{port}" ];  control = "{dir}/control";
        protocols = ( { name = "go"; string = "go"; } );
        services = ( { name = "cat"; match = "go"; exec = [ "/bin/cat" ]; stdio = "pipe"; } );
        """
    one = copied(config)
    replace(one, f'#!/bin/sh\n[ -n "$USHER_TRIAL" ] || echo nonsense >>{one.file}\nexec {BINARY} "$@"\n')
    old = set(one.workers)
    one.send_signal(signal.SIGUSR2)
    one.wait_log("usher.conf:")
    client = one.connect(timeout=slow(60))
    client.sendall(b"go\n")
    client.settimeout(12)
    try:
        client.recv(1)
        raise AssertionError("an answer, or an end, without a master that starts programs")
    except TimeoutError:
        pass
    client.settimeout(slow(60))
    one.write()
    assert read_exactly(client, 3) == b"go\n"
    wait_until(lambda: one.workers_but(old), 30, "other workers")


def test_a_reload_during_the_trial_comes_after_it(copied, backend):
    one = copied()
    replace(one, f'#!/bin/sh\nsleep 0.5\nexec {BINARY} "$@"\n')
    before = one.output().count("notice serving: ")
    one.send_signal(signal.SIGUSR2)
    time.sleep(0.2)
    one.send_signal(signal.SIGHUP)
    wait_until(lambda: one.output().count("notice serving: ") > before, 5, "the upgrade")
    pair(one, backend)


def test_sigterm_during_the_trial_ends_it_all(copied, backend):
    one = copied()
    replace(one, f'#!/bin/sh\nsleep 0.7\nexec {BINARY} "$@"\n')
    one.send_signal(signal.SIGUSR2)
    one.wait_log("is tested")
    client, server = pair(one, backend)
    one.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert one.process.poll() is None and one.output().count("notice serving: ") == 1
    exchange(client, server, 1000, 1000)
    assert one.process.wait(slow(5)) == 0


def test_who_cannot_move_is_decided_all_the_same(copied, backend):
    """Its listener is not in the new configuration: the old worker had stopped to decide for the upgrade."""
    one = copied()
    client = one.connect()
    client.sendall(b"g")
    time.sleep(0.1)
    (old,) = one.workers
    one.write(SERVICES.replace('"127.0.0.1:{port}"', '"127.0.0.1:{port_b}"'))
    assert upgrade(one) == {"done": "upgraded"}
    client.sendall(b"o")
    server = backend.accept()
    assert read_exactly(server, 2) == b"go"
    wait_until(lambda: old not in one.workers, 5, "the decided connection to move")
    exchange(client, server, 1000, 1000)


def test_a_second_upgrade_at_once_is_refused(copied, backend):
    one = copied()
    replace(one, f'#!/bin/sh\nsleep 0.7\nexec {BINARY} "$@"\n')
    one.send_signal(signal.SIGUSR2)
    one.wait_log("is tested")
    assert "under way" in upgrade(one)["error"]
    pair(one, backend)


# ---- under load


def test_ten_reloads_and_five_upgrades_under_load_and_nobody_notices(one_port, sshd):
    load_and_nobody_notices(one_port, sshd, upgrades=True)
