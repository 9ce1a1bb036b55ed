"""usher explain: what it says about bytes, in every form in which it takes them."""

import json
import subprocess

from harness import BINARY, SANITIZER_OPTIONS, run_usher

SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
HTTP = b"GET /index.html HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n"

CONFIG = """
listen = "127.0.0.1:8443";
services = (
  { name = "shop"; match = { host = "shop.example"; }; connect = "127.0.0.1:1"; },
  { name = "ssh"; match = "ssh"; connect = "127.0.0.1:2"; },
  { name = "web"; match = "http"; connect = "127.0.0.1:3"; } );
on_silence = "ssh";
on_unknown = "web";
"""


def batch(lines, *arguments, status=0):
    """The answers to the lines, each a dictionary or a text as it is."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    result = run_usher("explain", "--batch", "-", *arguments, input=text)
    assert (result.returncode, result.stderr) == (status, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def flow(*segments, transport="tcp", **more):
    return {"transport": transport, "segments": [segment.hex() for segment in segments], **more}


def test_an_answer_has_exactly_its_keys():
    (answer,) = batch([flow(SSH, id="x", other=[1])])
    assert list(answer) == ["id", "transport", "service", "protocol", "attributes", "decided_at", "bytes", "verdict", "why"]
    assert {key: answer[key] for key in answer if key != "why"} == {
        "id": "x", "transport": "tcp", "service": None, "protocol": "ssh", "attributes": {"version": "2.0"}, "decided_at": 8, "bytes": len(SSH),
        "verdict": "yes"}


def test_however_the_bytes_are_cut_the_answer_is_the_same():
    for sample in (SSH, HTTP, b"\x00\x01\x02", b"GET / HTTP/1.1\r\nX", b"SSH-2.0"):
        cuts = [flow(sample), flow(*(sample[i:i + 1] for i in range(len(sample)))), flow(b"", sample, b"")]
        cuts += [flow(sample[:i], sample[i:]) for i in range(len(sample))]
        answers = batch(cuts)
        assert len(answers) == len(cuts)
        assert all(answer == answers[0] for answer in answers)


def test_bad_lines_are_answered_and_end_nothing():
    lines = ["nonsense", "[1]", '{"id": 3, "transport": "tcp"}', '{"id": 4, "transport": "sctp", "segments": []}',
             '{"id": 5, "transport": "tcp", "segments": ["0"]}', '{"id": 6, "transport": "tcp", "segments": ["0g"]}',
             '{"id": 7, "transport": "tcp", "segments": [7]}', "", flow(SSH, id=8)]
    answers = batch(lines, status=1)
    assert [answer.get("id") for answer in answers] == [None, None, 3, 4, 5, 6, 7, 8]
    assert all(answer["error"] for answer in answers[:-1])
    assert answers[-1]["protocol"] == "ssh"


def test_with_a_configuration_it_names_the_service(place):
    (place / "usher.conf").write_text(CONFIG)
    answers = batch([flow(HTTP), flow(HTTP.replace(b"shop", b"blog")), flow(SSH), flow(b"SSH-"), flow(b"\0\0")], "-c",
                    place / "usher.conf")
    assert [(answer["service"], answer["protocol"], answer["verdict"]) for answer in answers] == [
        ("shop", "http", "yes"), ("web", "http", "yes"), ("ssh", "ssh", "yes"), ("ssh", None, "more"), ("web", None, "no")]
    assert answers[0]["attributes"]["host"] == "shop.example"
    assert answers[1]["decided_at"] == len(HTTP), "until the end of the header another host could come"


def test_it_can_be_asked_one_by_one():
    process = subprocess.Popen([BINARY, "explain", "--batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=SANITIZER_OPTIONS)
    for number in range(20):
        process.stdin.write(json.dumps(flow(SSH, id=number)) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == number
    process.stdin.close()
    assert process.wait() == 0
