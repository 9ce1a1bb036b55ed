"""Real clients of databases, brokers, DNS and SIP, each to its real server: all through one usher."""

import pathlib
import shutil
import subprocess
import tempfile

import pytest
from harness import IS_ROOT, end_process, free_port, slow, wait_until
from servers import Server, run

CONFIG = """
listen = "127.0.0.1:{port}";
decide_timeout = 10.0;
services = (
  { name = "old-mqtt"; match = { protocol = "mqtt"; version = "3.1"; }; reject = "close"; },
  { name = "mqtt"; match = "mqtt"; connect = "127.0.0.1:{mqtt}"; },
  { name = "closed"; match = { protocol = "postgres"; user = "alice"; database = "closed"; }; reject = "close"; },
  { name = "postgres"; match = "postgres"; connect = "127.0.0.1:{postgres}"; },
  { name = "redis"; match = "redis"; connect = "127.0.0.1:{redis}"; },
  { name = "memcached"; match = "memcached"; connect = "127.0.0.1:{memcached}"; },
  { name = "dns"; match = "dns"; connect = "127.0.0.1:{dns}"; },
  { name = "sip"; match = "sip"; connect = "127.0.0.1:{sip}"; } );
"""
KINDS = ("mqtt", "postgres", "redis", "memcached", "dns", "sip")
ADDRESS = "192.0.2.7"
UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if IS_ROOT else []


class Daemon(Server):
    """A server in the foreground, on a port of its own and with a directory of its own."""

    def __init__(self, directory, command, files=(), prepare=()):
        directory = pathlib.Path(tempfile.mkdtemp(prefix=directory.name + "-", dir=directory.parent))  # another file's may be there
        directory.chmod(0o755)
        self.port = free_port()
        for name, text in files:
            (directory / name).write_text(text.format(port=self.port))
        if IS_ROOT:
            shutil.chown(directory, "nobody", "nogroup")
        words = {"port": self.port, "dir": directory}
        for one in (*prepare, command):
            one[:] = [word.format(**words) for word in one]
        for one in prepare:
            run(one, timeout=slow(60), cwd=directory)
        self.launch(command, directory / "log", cwd=directory)
        self.wait(("127.0.0.1", self.port))


@pytest.fixture(scope="module")
def mosquitto(shelf):
    conf = "listener {port} 127.0.0.1\nallow_anonymous true\n"
    with Daemon(shelf / "mosquitto", ["mosquitto", "-c", "{dir}/conf"], files=[("conf", conf)]) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(shelf):
    programs = str(max(pathlib.Path("/usr/lib/postgresql").iterdir(), key=lambda path: int(path.name)) / "bin")
    with Daemon(shelf / "postgres", [*UNPRIVILEGED, programs + "/postgres", "-D", "{dir}/data", "-p", "{port}", "-k", "{dir}",
                                     "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
                prepare=[[*UNPRIVILEGED, programs + "/initdb", "-D", "{dir}/data", "-A", "trust", "-U", "alice", "-N"]]) as server:
        yield server


@pytest.fixture(scope="module")
def redis(shelf):
    with Daemon(shelf / "redis", ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{dir}"]) as server:
        yield server


@pytest.fixture(scope="module")
def memcached(shelf):
    with Daemon(shelf / "memcached", [*UNPRIVILEGED, "memcached", "-l", "127.0.0.1", "-p", "{port}"]) as server:
        yield server


@pytest.fixture(scope="module")
def dnsmasq(shelf):
    with Daemon(shelf / "dnsmasq", ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port={port}", "--no-resolv",
                                    "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=",
                                    f"--address=/shop.example/{ADDRESS}"]) as server:
        yield server


@pytest.fixture(scope="module")
def sipp(shelf):
    with Daemon(shelf / "sipp", ["sipp", "-sn", "uas", "-t", "tn", "-i", "127.0.0.1", "-p", "{port}", "-nostdin", "-max_socket", "100"]) as server:
        yield server


@pytest.fixture
def through(usher):
    """through(mqtt=server, ...): an usher before these servers, and before nothing for the others."""
    def start(**servers):
        return usher(CONFIG, **{kind: servers[kind].port if kind in servers else free_port() for kind in KINDS})
    return start


def ask(*command, fails=False):
    """What a client's command says."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=slow(30), check=False)
    assert (done.returncode != 0) == fails, done.stderr + done.stdout
    return done.stdout


def taken(one, n):
    return [(line["protocol"], line["service"]) for line in one.wait_connections(n)]


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mqtt_clients_reach_their_broker(through, mosquitto, version):
    one = through(mqtt=mosquitto)
    broker = ("-h", "127.0.0.1", "-p", one.port, "-V", version, "-t", "news", "-u", "alice", "-P", "secret")
    ask("mosquitto_pub", *broker, "-m", version, "--retain")
    assert ask("mosquitto_sub", *broker, "-C", "1") == version + "\n"
    assert taken(one, 2) == [("mqtt", "mqtt")] * 2


def test_an_mqtt_client_is_told_by_its_version(through, mosquitto):
    one = through(mqtt=mosquitto)
    ask("mosquitto_pub", "-h", "127.0.0.1", "-p", one.port, "-V", "mqttv31", "-t", "news", "-m", "hello", fails=True)
    assert taken(one, 1) == [("mqtt", "old-mqtt")]


@pytest.mark.parametrize("mode", ["sslmode=disable gssencmode=disable", "sslmode=prefer gssencmode=disable"])
def test_psql_reaches_its_server_with_and_without_asking_for_tls(through, postgres, mode):
    one = through(postgres=postgres)
    url = f"host=127.0.0.1 port={one.port} user=alice dbname=postgres {mode}"
    assert ask("psql", url, "-Atc", "select 6 * 7") == "42\n"
    assert taken(one, 1) == [("postgres", "postgres")]


def test_psql_is_told_by_the_user_and_the_database(through, postgres):
    one = through(postgres=postgres)
    url = f"host=127.0.0.1 port={one.port} user=alice dbname=closed sslmode=disable gssencmode=disable"
    ask("psql", url, "-Atc", "select 1", fails=True)
    assert taken(one, 1) == [("postgres", "closed")]


def test_a_query_is_cancelled_through_a_connection_of_its_own(through, postgres):
    one = through(postgres=postgres)
    url = f"host=127.0.0.1 port={one.port} user=alice dbname=postgres sslmode=disable gssencmode=disable"
    script = "select pg_sleep(60)"
    client = subprocess.Popen(["psql", url, "-Atc", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        running = f"select count(*) from pg_stat_activity where query = '{script}'"
        direct = f"host=127.0.0.1 port={postgres.port} user=alice dbname=postgres"
        wait_until(lambda: ask("psql", direct, "-Atc", running) == "1\n", slow(10), "the query")
        client.send_signal(2)
        _, said = client.communicate(timeout=slow(10))
        assert "canceling statement due to user request" in said
    finally:
        end_process(client)
    assert taken(one, 2) == [("postgres", "postgres")] * 2


@pytest.mark.parametrize("version", [(), ("-3",)])
def test_redis_cli_reaches_its_server(through, redis, version):
    one = through(redis=redis)
    assert ask("redis-cli", *version, "-p", one.port, "set", "key", "value") == "OK\n"
    assert ask("redis-cli", *version, "-p", one.port, "get", "key") == "value\n"
    assert taken(one, 2) == [("redis", "redis")] * 2


@pytest.mark.parametrize("form", [(), ("--binary",)])
def test_memcached_clients_reach_their_server(through, memcached, form, place):
    one = through(memcached=memcached)
    (place / "key").write_text("value")
    ask("memccp", f"--servers=127.0.0.1:{one.port}", *form, place / "key")
    assert ask("memccat", f"--servers=127.0.0.1:{one.port}", *form, "key") == "value\n"
    assert set(taken(one, 2)) == {("memcached", "memcached")}


def test_dig_reaches_its_server_over_tcp(through, dnsmasq):
    one = through(dns=dnsmasq)
    for options in ((), ("+noedns",), ("+norecurse",), ("+dnssec",)):
        assert ask("dig", "@127.0.0.1", "-p", one.port, "+tcp", "+short", *options, "shop.example") == ADDRESS + "\n"
    assert taken(one, 4) == [("dns", "dns")] * 4


def test_a_call_over_tcp_reaches_its_server(through, sipp, place):
    one = through(sip=sipp)
    run(["sipp", "-sn", "uac", "-t", "t1", "-i", "127.0.0.1", "-m", "1", "-nostdin", "-max_socket", "100", f"127.0.0.1:{one.port}"],
        timeout=slow(30), cwd=place, stdout=subprocess.DEVNULL)
    assert taken(one, 1) == [("sip", "sip")]
