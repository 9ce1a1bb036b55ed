"""What usher adds to the programs whose configuration it takes: a control socket in a place that can be said, and options before
and after the file."""

import json
import stat
import subprocess

import namespaces
import pytest
from dialects import fixture_of
from harness import BINARY, ENVIRONMENT, IS_ROOT, new_directory, remove_directory, run_usher, slow

FILES = {
    "sslh": 'listen: ( {{ host: "127.0.0.1"; port: "{port}"; }} );\nprotocols: ( {{ name: "ssh"; host: "127.0.0.1"; port: "22"; }} );\n',
    "tcpmux": 'version = "1"; bind_addr = "127.0.0.1"; listen_port = {port};\n'
              'proto_identifier: ( {{ name: "internal"; identifier: "internal"; priority: 0; disabled: 0; }} );\n'
              'internal_identifer: ( {{ name: "ssh"; priority: 0; disabled: 0; }} );\n'
              'proxy_server: ( {{ proto: "ssh"; channel: "/tmp/none"; }} );\n',
    "portsplit": "bind = 127.0.0.1:{port}\n[ssh]\nstring = SSH\nconnect = 127.0.0.1:22\n",
}
DIALECTS = pytest.mark.parametrize("dialect", list(FILES))
sslh, tcpmux, portsplit = fixture_of("sslh"), fixture_of("tcpmux"), fixture_of("portsplit")


def config(dialect):
    return FILES[dialect].replace("{{", "{").replace("}}", "}")


def arguments(dialect, file):
    return {"sslh": [f"-F{file}", "-f"], "tcpmux": ["-c", file], "portsplit": [file]}[dialect]


def setting_of(printed):
    return [line for line in printed.stdout.splitlines() if line.startswith("control = ")]


@DIALECTS
@pytest.mark.parametrize("way", ["dialect", "printed", "link"])
def test_a_control_socket_in_the_folder_of_the_service(request, dialect, way):
    """systemd makes it and names it to the service."""
    one = request.getfixturevalue(dialect)(config(dialect), way=way)
    socket = one.dir / "control.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    answer = run_usher("status", "-s", socket, "--json")
    assert json.loads(answer.stdout)["pid"] == one.pid
    assert run_usher("reload", "-s", socket).returncode == 0
    one.stop()
    assert not socket.exists()


@DIALECTS
@pytest.mark.parametrize("way", ["dialect", "printed", "link"])
def test_a_control_socket_where_an_option_says(request, dialect, way):
    start = request.getfixturevalue(dialect)
    one = start(config(dialect), way=way, args=["--control", "asked.sock"])
    assert json.loads(run_usher("status", "-s", one.dir / "asked.sock", "--json").stdout)["pid"] == one.pid
    assert not (one.dir / "control.sock").exists()


@DIALECTS
def test_the_place_of_the_control_socket_is_printed(dialect, place):
    file = place / "file"
    file.write_text(config(dialect).replace("{port}", "1234"))

    def printed(*more, env=None):
        done = run_usher(dialect, *arguments(dialect, file), "--print", *more, cwd=place, env=env)
        assert done.returncode == 0, done.stderr
        return setting_of(done)

    usual = ['control = "/run/usher/control.sock";'] if IS_ROOT else []
    assert printed() == usual
    assert printed(env={"RUNTIME_DIRECTORY": "/run/a:/run/b"}) == ['control = "/run/a/control.sock";']
    assert printed("--control", "x.sock", env={"RUNTIME_DIRECTORY": "/run/a"}) == [f'control = "{place}/x.sock";']
    assert printed("--control", "/y.sock") == ['control = "/y.sock";']
    assert printed("--control=", env={"RUNTIME_DIRECTORY": "/run/a"}) == []


@pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
@DIALECTS
def test_the_usual_place_is_where_status_asks_without_a_name(dialect, place):
    file = place / "file"
    file.write_text(config(dialect).replace("{port}", "1234"))
    script = """mount -t tmpfs none /run
"$@" 2>/dev/null & pid=$!
for i in $(seq 1000); do test -S /run/usher/control.sock && break; sleep 0.02; done
$USHER status --json; kill -INT $pid; wait $pid"""
    done = subprocess.run(["unshare", "-m", "-n", "sh", "-c", "ip link set lo up; " + script, "sh", BINARY, dialect,
                           *arguments(dialect, file)], capture_output=True, text=True, timeout=slow(60), check=False,
                          env={**ENVIRONMENT, "USHER": str(BINARY)})
    assert json.loads(done.stdout)["pid"], done.stderr


def test_a_control_socket_that_cannot_be_is_no_reason_not_to_serve(sslh):
    one = sslh(config("sslh"), args=["--control", "/proc/none/x.sock"])
    assert one.wait_log("error control socket /proc/none/x.sock: ")
    one.connect().close()


# ---- options after the file


@DIALECTS
def test_options_may_come_after_the_file(dialect, place):
    file = place / "file"
    file.write_text(config(dialect).replace("{port}", "1234"))
    before = run_usher(dialect, "--print", "--control=/x", *arguments(dialect, file), cwd=place)
    after = run_usher(dialect, *arguments(dialect, file), "--print", "--control=/x", cwd=place)
    assert before.returncode == after.returncode == 0
    assert before.stdout == after.stdout and 'control = "/x";' in after.stdout


@DIALECTS
def test_help_is_no_error(dialect):
    for word in ("--help", "-h"):
        done = run_usher(dialect, word)
        assert (done.returncode, done.stderr) == (0, "") and f"usage: usher {dialect}" in done.stdout


def test_options_of_usher_itself_may_come_after_what_they_are_about(usher, place):
    (place / "hello").write_bytes(b"SSH-2.0-x\r\n")
    one = usher('listen = "127.0.0.1:{port}"; control = "{dir}/c.sock"; services = ( { name = "a"; match = "ssh"; '
                'connect = "127.0.0.1:1"; } );')
    explained = run_usher("explain", place / "hello", "--json", "-c", one.file)
    assert json.loads(explained.stdout)["service"] == "a", explained.stderr
    assert run_usher("log", "debug", "-s", one.dir / "c.sock").returncode == 0
    assert "nobody" not in run_usher("close", "1", "-c", one.file).stdout


# ---- what --print prints is what is run


def test_what_would_not_run_is_said_where_it_is_printed(place):
    """The text all the same: it may be for another machine."""
    file = place / "sslh.cfg"
    file.write_text('listen: ( { host: "127.0.0.1"; port: "1"; } );\n'
                    'protocols: (\n { name: "regex"; host: "127.0.0.1"; port: "22"; regex_patterns: [ "(" ]; } );\n')
    done = run_usher("sslh", f"-F{file}", "--print")
    assert done.returncode == 1 and 'regex = [ "(" ]' in done.stdout
    assert f'{file}:3: regex "(" does not compile' in done.stderr
    directory = new_directory()
    try:
        text = directory / "portsplit.conf"
        text.write_text("bind = 127.0.0.1:1\n[a]\nstring = x\nexec = /no/such/program\n")
        done = run_usher("portsplit", text, "--print")
        assert done.returncode == 2 and "/no/such/program" in done.stdout and f"{text}:4: " in done.stderr
    finally:
        remove_directory(directory)
