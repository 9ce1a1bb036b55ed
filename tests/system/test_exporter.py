"""The exporter: what it answers over HTTP, to Prometheus, promtool, hostile and many clients, and what it and usher do when it dies, its port
is taken, or the configuration changes."""

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time

import pytest
from harness import IS_ROOT, SOURCE, connect, count_fds, free_port, new_directory, read_exactly, remove_directory, wait_until

HELLO = b"SSH-2.0-x\r\n"
CONFIG = """
listen = "127.0.0.1:{port}";
workers = 2;
control = "{dir}/control";
metrics = %s;
services = (
    { name = "echo"; match = { protocol = "ssh"; }; connect = "{echo}"; },
    { name = "no"; match = { protocol = "tls"; sni = "a.example"; }; reject = "close"; }
);
"""
METRICS = CONFIG % '"127.0.0.1:{port_metrics}"'
OPEN = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.fixture
def exported(usher, echo):
    def start(config=METRICS, **options):
        one = usher(config, echo=echo.tcp4, **options)
        wait_until(lambda: exporters(one), 20.0, "the exporter")
        return one

    return start


def exporters(one):
    return one._named("exporter")


def get(one, path="/metrics", method="GET", port=None, **headers):
    """The status, the header fields in lower case, and the text."""
    client = http.client.HTTPConnection("127.0.0.1", port or one.ports["port_metrics"], timeout=20)
    with contextlib.closing(client):
        client.request(method, path, headers=headers)
        answer = client.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def values(text):
    """The samples, by name and labels."""
    return dict(re.fullmatch(r"(\S+?(?:\{.*\})?) (\S+)", line).groups() for line in text.splitlines() if not line.startswith("#"))


def now(one):
    """The samples of this moment: an answer may be a second old."""
    time.sleep(1.1)
    return values(get(one)[2])


def is_refused(one, port=None):
    """A process that is being ended may hold the socket for a moment."""
    with contextlib.suppress(ConnectionResetError, http.client.HTTPException):
        try:
            get(one, port=port)
        except ConnectionRefusedError:
            return True
    return False


def say_hello(one):
    with one.connect() as client:
        client.sendall(HELLO)
        assert read_exactly(client, len(HELLO)) == HELLO


# ---- what it says


def test_samples_are_what_usher_status_says(exported):
    one = exported()
    for _ in range(3):
        say_hello(one)
    one.wait_connections(3)
    seen = now(one)
    (status,) = one.ask(b"status")
    assert seen['usher_service_connections_total{service="echo"}'] == "3"
    assert seen['usher_service_bytes_total{service="echo",direction="up"}'] == str(3 * len(HELLO))
    assert seen[f'usher_listener_accepted_total{{listener="127.0.0.1:{one.port}"}}'] == "3"
    assert seen['usher_service_open_connections{service="no"}'] == "0"
    assert seen['usher_build_info{version="0.1.0"}'] == "1"
    assert seen["usher_start_time_seconds"] == str(status["since"])
    assert [seen[f'usher_state{{state="{state}"}}'] for state in ("serving", "reloading", "ending")] == ["1", "0", "0"]
    assert seen['usher_workers{state="serving"}'] == "2"
    (backend,) = status["backends"]
    labels = f'{{service="echo",backend="{backend["address"]}"}}'
    assert seen["usher_backend_up" + labels] == "1" and seen["usher_backend_connections_total" + labels] == "3"
    assert float(seen["usher_backend_latency_seconds" + labels]) > 0
    for end, count in status["ended"].items():
        assert seen[f'usher_ended_total{{end="{end}"}}'] == str(count)
    for name in ("decision_seconds", "connect_seconds", "answer_seconds", "session_seconds", "session_bytes"):
        assert seen[f'usher_{name}_count{{service="echo"}}'] == seen[f'usher_{name}_bucket{{service="echo",le="+Inf"}}'] == "3"
    assert seen['usher_session_bytes_sum{service="echo"}'] == str(6 * len(HELLO))
    buckets = [int(value) for name, value in seen.items() if name.startswith("usher_answer_seconds_bucket")]
    assert buckets == sorted(buckets) and len(buckets) == 17


def test_a_backend_that_is_drained_gets_no_new_clients_and_says_so(exported):
    one = exported()
    say_hello(one)
    (backend,) = one.ask(b"backends")
    one.ask(f"backend echo {backend['address']} drain".encode())
    seen = now(one)
    assert seen[f'usher_backend_up{{service="echo",backend="{backend["address"]}"}}'] == "0"
    page = get(one, "/")[2]
    assert "<h2>Backends</h2>" in page and backend["address"] in page and "drain: operator" in page


def test_a_client_s_words_are_in_no_label(exported):
    one = exported()
    with one.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: secret.example\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            client.recv(10)
    one.wait_connections(1)
    time.sleep(1.1)
    for path in ("/metrics", "/status.json", "/"):
        assert "secret" not in get(one, path)[2] and "no-service" in get(one, path)[2]


@pytest.mark.parametrize("accept,is_open", [
    (None, False), ("", False), ("text/plain", False), ("*/*", False), (OPEN, True), ("application/openmetrics-text", True),
    ("application/openmetrics-text;q=0.2, text/plain;q=0.5", False), ("application/openmetrics-text;q=0", False),
    ("text/html, Application/OpenMetrics-Text ; version=1.0.0 ; q=0.9 , text/*;q=0.1", True), (",,;;q=,=", False),
])
def test_the_format_is_the_one_that_accept_prefers(exported, accept, is_open):
    one = exported()
    status, headers, text = get(one, **({} if accept is None else {"Accept": accept}))
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0" if is_open else "text/plain; version=0.0.4")
    assert text.endswith("# EOF\n") == is_open
    assert ("# TYPE usher_ended counter" in text) == is_open == ("# UNIT" in text)
    assert ("# TYPE usher_ended_total counter" in text) != is_open


def test_promtool_finds_nothing_to_complain_of(exported):
    one = exported(METRICS.replace('"{echo}";', '"{echo}"; check = { };'))
    say_hello(one)
    one.wait_connections(1)
    wait_until(lambda: "usher_backend_check_passed{" in get(one)[2], 5.0, "a check")
    text = get(one)[2]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    families = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert families == set(re.findall(r"^# HELP (\S+)", text, re.M)) and len(families) > 20
    sampled = {re.sub(r"_(bucket|sum|count)$", "", re.split(r"[{ ]", name)[0]) if "_seconds_" in name or "_session_bytes_" in name
               else re.split(r"[{ ]", name)[0] for name in values(text)}
    assert sampled == families


def test_other_paths_and_methods_are_refused_and_change_nothing(exported):
    one = exported()
    assert get(one, "/healthz")[::2] == (200, "alive\n")
    assert get(one, "/readyz")[::2] == (200, "ready\n")
    for path in ("/x", "//", "/metrics/", "/../metrics", "/reload", "/%2e%2e/etc/passwd"):
        assert get(one, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        status, headers, _ = get(one, method=method)
        assert (status, headers["allow"]) == (405, "GET, HEAD"), method
    assert get(one, "/metrics", method="HEAD")[::2] == (200, "")
    assert get(one, "/metrics?reload=1")[0] == 200
    assert json.loads(get(one, "/status.json")[2])["pid"] == one.process.pid


def test_status_json_is_what_the_control_socket_says(exported):
    one = exported()
    say_hello(one)
    one.wait_connections(1)
    time.sleep(2.1)
    assert json.loads(get(one, "/status.json")[2]) == one.ask(b"status")[0]


def test_without_a_page_there_is_none(exported):
    one = exported(CONFIG % '{ listen = "127.0.0.1:{port_metrics}"; page = false; }')
    assert get(one, "/")[0] == 404 and get(one)[0] == 200


def test_a_unix_socket_has_its_mode_and_is_removed_at_the_end(exported):
    one = exported(CONFIG % '{ listen = "unix:{dir}/metrics"; mode = "0600"; }')
    assert (one.dir / "metrics").stat().st_mode & 0o777 == 0o600
    with connect(str(one.dir / "metrics")) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"alive\n")
    one.stop()
    assert not (one.dir / "metrics").exists()


# ---- Prometheus itself


def test_prometheus_scrapes_it(exported):
    one = exported()
    say_hello(one)
    one.wait_connections(1)
    place, port = new_directory(), free_port()
    (place / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: usher, static_configs: [{{targets: ['127.0.0.1:{one.ports['port_metrics']}']}}]}}]\n")
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        def asked(query):
            try:
                return json.loads(get(one, f"/api/v1/query?query={query}", port=port)[2])["data"]["result"]
            except (OSError, ValueError):  # it does not answer yet, or with words
                return []

        wait_until(lambda: asked("usher_service_connections_total"), 60.0, "a scrape:\n" + (place / "log").read_text()[-2000:])
        found = {each["metric"]["service"]: each["value"][1] for each in asked("usher_service_connections_total")}
        assert found == {"echo": "1", "no": "0"}
        (quantile,) = asked("histogram_quantile(0.9,usher_decision_seconds_bucket)")
        assert 0 < float(quantile["value"][1]) < 10
        (up,) = asked("up")
        assert up["value"][1] == "1"
    finally:
        process.terminate()
        process.wait(30)
        remove_directory(place)


def test_the_rules_of_the_example_do_what_they_say():
    done = subprocess.run(["promtool", "test", "rules", "usher-alerts-test.yml"], cwd=SOURCE / "tests/system/data", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["promtool", "check", "rules", "usher-alerts.yml"], cwd=SOURCE / "examples/prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_examples_ask_for_is_there(exported):
    one = exported()
    say_hello(one)
    one.wait_connections(1)
    there = {re.split(r"[{ ]", name)[0] for name in now(one)}
    for name in ("usher-alerts.yml", "grafana.json"):
        text = (SOURCE / "examples/prometheus" / name).read_text()
        wanted = set(re.findall(r"\busher_[a-z_]+", text))
        assert wanted and wanted <= there, f"{name}: {wanted - there}"
    json.loads((SOURCE / "examples/prometheus/grafana.json").read_text())


# ---- faults


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV])
def test_an_exporter_that_dies_is_started_again_and_nothing_is_lost(exported, signal_number):
    one = exported(may_crash=True)
    say_hello(one)
    one.wait_connections(1)
    (pid,) = exporters(one)
    os.kill(pid, signal_number)
    one.wait_log("the exporter died and is started again in 1 s", timeout=20.0)
    say_hello(one)
    one.wait_connections(2)
    wait_until(lambda: exporters(one) and exporters(one) != [pid], 30.0, "another exporter")
    assert values(get(one)[2])['usher_service_connections_total{service="echo"}'] == "2"


def test_an_exporter_that_is_stopped_keeps_nobody_waiting_but_those_who_ask_it(exported):
    one = exported()
    (pid,) = exporters(one)
    os.kill(pid, signal.SIGSTOP)
    say_hello(one)
    assert one.ask(b"status")[0]["state"] == "serving"
    one.reload()
    wait_until(lambda: exporters(one) and pid not in exporters(one), 20.0, "another exporter")
    assert get(one, "/healthz")[0] == 200


def test_where_its_port_is_taken_usher_serves_and_tries_again(usher, echo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = usher(CONFIG % f'"127.0.0.1:{port}"', echo=echo.tcp4)
        line = one.wait_log(f"no metrics, cannot listen on 127.0.0.1:{port}: Address already in use", timeout=20.0)
        assert "usher.conf:5:" in str(line)
        say_hello(one)
        time.sleep(2.2)
        assert one.output().count("no metrics") == 1
    one.wait_log(f"metrics on 127.0.0.1:{port}: served now", timeout=20.0)
    wait_until(lambda: exporters(one), 20.0, "the exporter")
    assert get(one, port=port)[0] == 200


def test_slow_and_silent_clients_end_and_keep_nobody_out(exported):
    one = exported()
    silent = [connect(("127.0.0.1", one.ports["port_metrics"])) for _ in range(100)]
    for client in silent[::2]:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
    assert get(one)[0] == 200
    (pid,) = exporters(one)
    assert count_fds(pid) < 90
    ended = 0
    for client in silent:
        client.settimeout(60)
        with client, contextlib.suppress(ConnectionError):
            ended += client.recv(1) == b""
    assert ended > 20


def test_heads_that_are_too_long_and_bodies_are_refused_and_cost_no_memory(exported):
    one = exported()
    (pid,) = exporters(one)
    for request in (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 100000, b"GET /" + b"x" * 1000000 + b" HTTP/1.1\r\n\r\n",
                    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000000, b"\0\xff" * 50000,
                    b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"):
        with connect(("127.0.0.1", one.ports["port_metrics"])) as client, contextlib.suppress(OSError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            client.makefile("rb").read()
    assert get(one)[0] == 200 and exporters(one) == [pid]
    used_kib = int(re.search(r"^RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M)[1])
    assert used_kib < 20000 or "ASAN" in os.environ.get("USHER_BUILD", "")


def test_a_thousand_clients_at_once_are_answered(exported):
    one = exported()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("needs 2000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        from concurrent.futures import ThreadPoolExecutor

        def ask(_):
            for _ in range(100):  # who was turned away for another comes again
                with contextlib.suppress(OSError, http.client.HTTPException):
                    return get(one)[0]
            return None

        with ThreadPoolExecutor(100) as pool:
            assert list(pool.map(ask, range(1000))) == [200] * 1000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- while workers die, reload, upgrade, the end


def test_counters_keep_counting_while_workers_die(exported):
    one = exported(may_crash=True)
    total = 0
    for _ in range(3):
        say_hello(one)
        total += 1
        one.wait_connections(total)
        before = one.workers
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(one.workers_but([before[0]])) == 2, 30.0, "another worker")
    seen = now(one)
    assert seen['usher_service_connections_total{service="echo"}'] == seen['usher_decision_seconds_count{service="echo"}'] == str(total)


def test_a_reload_brings_the_new_services_and_no_client_is_refused(exported):
    one = exported()
    say_hello(one)
    one.wait_connections(1)
    (pid,) = exporters(one)
    one.reload(METRICS.replace('"no"', '"other"'))
    seen = values(get(one)[2])
    assert seen['usher_service_connections_total{service="echo"}'] == "1"
    assert 'usher_service_connections_total{service="other"}' in seen and 'usher_service_connections_total{service="no"}' not in seen
    wait_until(lambda: pid not in exporters(one), 20.0, "the end of the one before")
    port = free_port()
    one.reload(CONFIG % f'"127.0.0.1:{port}"')
    assert get(one, "/healthz", port=port)[0] == 200
    wait_until(lambda: is_refused(one), 20.0, "the end of the socket")
    one.reload((CONFIG % '""').replace('metrics = "";', ""))
    wait_until(lambda: not exporters(one), 20.0, "the end of the exporter")
    wait_until(lambda: is_refused(one, port), 20.0, "the end of the socket")


def test_an_upgrade_keeps_the_socket_and_the_counters(exported):
    one = exported()
    say_hello(one)
    one.wait_connections(1)
    (pid,) = exporters(one)
    one.send_signal(signal.SIGUSR2)
    while one.output().count("notice serving: ") < 2:
        assert get(one, "/healthz")[0] == 200  # it waits, and is not refused
        one.seen.look()
        time.sleep(0.05)
    wait_until(lambda: exporters(one) and pid not in exporters(one), 30.0, "the next exporter")
    assert values(get(one)[2])['usher_service_connections_total{service="echo"}'] == "1"


def test_while_usher_drains_it_is_alive_and_not_ready(exported):
    one = exported()
    with one.connect() as client:
        client.sendall(HELLO)
        read_exactly(client, len(HELLO))
        one.send_signal(signal.SIGTERM)
        wait_until(lambda: get(one, "/readyz")[0] == 503, 20.0, "the end of its readiness")
        assert get(one, "/readyz")[2] == "not ready: usher ends, and takes no new clients\n"
        assert get(one, "/healthz")[0] == 200
        assert now(one)['usher_state{state="ending"}'] == "1"
    one.stop()


# ---- what it may


@pytest.mark.skipif(not IS_ROOT, reason="needs root: to look at the memory of an unprivileged process")
def test_it_has_no_rights_and_can_write_no_counter(exported):
    one = exported()
    (pid,) = exporters(one)
    assert get(one, "/healthz")[0] == 200  # behind the sandbox
    status = open(f"/proc/{pid}/status").read()
    assert re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    writable = 0
    for line in open(f"/proc/{pid}/maps"):
        where, mode, _, _, _, *name = line.split()
        if "s" in mode and "w" in mode:
            first, last = (int(end, 16) for end in where.split("-"))
            writable += last - first
    assert writable <= 3 * 65536  # the history, and the place where a refused call is noted
