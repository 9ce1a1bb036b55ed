"""What a scrape of the exporter costs where a thousand services have histograms: its processor time, and how long the client waits."""

import contextlib
import http.client
import pathlib
import socket
import statistics
import subprocess
import time

import compiling
import processes
import report

SERVICES = 1000
SCRAPES = 11
FRESH_S = 1.1  # an answer is made once a second
LIMIT_MS = 20  # of processor time


def configuration(directory, port):
    services = ",\n".join(f'{{ name = "s{i}"; match = {{ protocol = "http"; host = "h{i}"; }}; reject = "close"; }}' for i in range(SERVICES))
    return (f'listen = "unix:{directory}/socket"; control = "{directory}/control"; workers = 2; metrics = "127.0.0.1:{port}";\n'
            f'services = (\n{services} );\n')


def use_each(directory):
    for i in range(SERVICES):
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionError):
            client.connect(str(directory / "socket"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: h%d\r\n\r\n" % i)
            client.recv(1)


def scrape(port):
    """The text, and for how many ms it was awaited."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(client):
        begin = time.monotonic()
        client.request("GET", "/metrics")
        text = client.getresponse().read()
        return text, (time.monotonic() - begin) * 1000


def measure(bench):
    """{what: ms or bytes}."""
    directory = pathlib.Path(bench.ground.directory) / "scrape"
    directory.mkdir()
    port = processes.free_port()
    (directory / "usher.conf").write_text(configuration(directory, port), encoding="ascii")
    found = {"cpu_ms": [], "awaited_ms": []}
    with compiling.serving(bench.tools.parent / "src/usher", directory / "usher.conf", directory / "control") as pid:
        use_each(directory)
        (exporter,) = subprocess.run(["pgrep", "-P", str(pid), "-f", "exporter"], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(SCRAPES):
            time.sleep(FRESH_S)
            before = compiling.own_ms(exporter)
            text, awaited_ms = scrape(port)
            found["cpu_ms"].append(compiling.own_ms(exporter) - before)
            found["awaited_ms"].append(awaited_ms)
    if text.count(b"usher_session_seconds_count") != SERVICES:
        raise processes.Failed("histograms are missing", {})
    return {"bytes": len(text), **{key: statistics.median(values) for key, values in found.items()}}


def too_slow(found):
    return bool(found) and found["cpu_ms"] > LIMIT_MS


def as_text(found):
    rows = [[f"{found['bytes']:,}", f"{found['cpu_ms']:.1f}", f"{found['awaited_ms']:.1f}"]]
    verdict = f"*** TOO SLOW *** more than {LIMIT_MS} ms\n" if too_slow(found) else f"Held: at most {LIMIT_MS} ms of processor time.\n"
    return report.table(f"A scrape of {SERVICES:,} services with histograms:", ["bytes", "CPU ms", "awaited ms"], rows) + "\n" + verdict
