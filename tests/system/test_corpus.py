"""What real clients sent first (tests/corpus) gets its name, or none where that is said here; never another's."""

import json
import pathlib
import random
import subprocess
import sys

import harness
import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "accuracy"), str(TESTS / "corpus")]

import accuracy  # noqa: E402
import record  # noqa: E402

# What is what it says and cannot be told: the ids begin so. Each must really be without a name, or it does not belong here.
UNTOLD = {
    "openvpn-tcp-static": "OpenVPN with a static key looks like noise behind a length word",
    "ftp-client-curl": "USER may be POP3's too",
    "ftp-client-inetutils": "USER may be POP3's too",
    "pop3-client-python": "USER may be FTP's too",
    "mysql-client-hydra": "nothing but a farewell",
}


@pytest.fixture(scope="module")
def judged():
    flows = accuracy.read_corpus()
    usher = accuracy.Usher(harness.BINARY)
    known = {label: label != "unknown" and usher.knows(label) for label in {flow["protocol"] for flow in flows}}
    return flows, known, usher.answers(flows)


def why_untold(flow):
    return next((reason for start, reason in UNTOLD.items() if flow["id"].startswith(start)), None)


def test_ids_are_unique_and_segments_are_there():
    flows = accuracy.read_corpus()
    assert len(flows) > 1000
    assert len({flow["id"] for flow in flows}) == len(flows)
    assert all(flow["segments"] and all(flow["segments"]) for flow in flows)


def test_each_flow_has_its_recipe():
    recipes = {recipe.name: recipe for path in (TESTS / "corpus/recipes").glob("*.toml") for recipe in record.read_recipes(path.stem)}
    for flow in accuracy.read_corpus():
        name = flow["id"].rsplit("-", 1)[0]
        if name not in recipes:
            name = name.rsplit("-", 1)[0]
            assert name in recipes and recipes[name].flows_kept > 1, flow["id"]
        assert flow["protocol"] == recipes[name].protocol, flow["id"]


def test_nothing_of_the_machine_is_in_the_bytes():
    for flow in accuracy.read_corpus():
        data = bytes.fromhex("".join(flow["segments"]))
        assert not any(word in data + flow["command"].encode() for word in (b"/tmp/", b"/var/tmp/", b"/home/", b"/root/")), flow["id"]


def test_no_flow_gets_a_name_that_is_not_its_own(judged):
    flows, known, answers = judged
    wrong = [f"{flow['id']}: {flow['protocol']} taken for {answers[flow['id']]}" for flow in flows
             if answers[flow["id"]] not in (None, flow["protocol"] if known[flow["protocol"]] else None)]
    assert not wrong, "\n".join(wrong)


def test_every_flow_with_a_probe_gets_its_name(judged):
    flows, known, answers = judged
    silent = [f"{flow['id']}: {flow['protocol']} is not told" for flow in flows
              if known[flow["protocol"]] and answers[flow["id"]] is None and not why_untold(flow)]
    assert not silent, "\n".join(silent)


def test_quic_is_read_in_whatever_order_its_datagrams_come():
    flows = [flow for flow in accuracy.read_corpus() if flow["protocol"] == "quic"]
    shuffled = [dict(flow, segments=flow["segments"][::-1]) for flow in flows]
    learned = []
    for order in flows, shuffled:
        lines = "".join(json.dumps(flow) + "\n" for flow in order)
        result = subprocess.run([harness.BINARY, "explain", "--batch", "-"], input=lines, capture_output=True, text=True, check=True,
                                timeout=harness.slow(30))
        learned.append([json.loads(line)["attributes"] for line in result.stdout.splitlines()])
    assert learned[0] == learned[1]
    for flow, attributes in zip(flows, learned[0], strict=True):
        if "reserved" in flow["id"]:
            assert set(attributes) == {"version"}, flow["id"]
            continue
        assert {"version", "alpn", "ja4"} <= set(attributes), flow["id"]
        if "example.com" in flow["command"] and "gtlsclient {host}" not in flow["command"]:
            assert attributes["sni"] in flow["command"], flow["id"]


def test_what_is_said_to_be_untold_is_so(judged):
    flows, _, answers = judged
    for start in UNTOLD:
        ids = [flow["id"] for flow in flows if flow["id"].startswith(start)]
        assert ids and all(answers[name] is None for name in ids), start


def test_no_probe_takes_a_datagram_of_another_protocol(judged, tmp_path):
    """Each probe alone, so that none hides behind an earlier one, over every recorded datagram, also the later ones of a flow."""
    flows, known, _ = judged
    datagrams = [(flow, segment) for flow in flows if flow["transport"] == "udp" for segment in flow["segments"]]
    lines = "".join(json.dumps({"transport": "udp", "segments": [segment]}) + "\n" for _, segment in datagrams)
    labels = sorted({flow["protocol"] for flow, _ in datagrams if known[flow["protocol"]]})
    assert len(labels) > 25
    config = tmp_path / "one.conf"
    wrong = []
    for label in labels:
        config.write_text(f'listen = ["127.0.0.1:1"]; services = ({{ name = "a"; match = "{label}"; connect = "127.0.0.1:2"; }});')
        result = subprocess.run([harness.BINARY, "explain", "-c", config, "--batch", "-"], input=lines, capture_output=True, text=True, check=True)
        answers = [json.loads(line)["service"] for line in result.stdout.splitlines()]
        assert len(answers) == len(datagrams)
        wrong += [f"{flow['id']}: {segment[:40]} taken for {label}"
                  for (flow, segment), answer in zip(datagrams, answers) if answer and flow["protocol"] != label]
    assert not wrong, "\n".join(wrong)


def mutants(flows):
    """Of each stream itself and some that differ from it a little, or go on as another."""
    dice = random.Random(4711)
    streams = [bytes.fromhex("".join(flow["segments"])) for flow in flows if flow["transport"] == "tcp"]
    for data in streams:
        yield data
        at = dice.randrange(min(len(data), 80))
        yield data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        yield data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        yield data[: dice.randrange(len(data)) + 1]
        yield data[:at] + data[at + 1 :]
        yield data[:at] + dice.choice(streams)


def cuts(data, dice):
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))] if len(data) <= 600 else [data[:1], data[1:]]
    places = sorted(dice.sample(range(len(data) + 1), min(4, len(data))))
    yield [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)]) if begin < end]


def test_the_outcome_is_the_same_however_it_was_cut_and_is_never_taken_back(judged):
    """Of the corpus and of random mutations of it: any cut gives the same answer, settled by the same byte; that many bytes are
    enough for it, one less is not."""
    flows, _, _ = judged
    dice = random.Random(4712)
    lines, wanted = [], []
    bodies = list(mutants(flows))
    wholes = explain([[body] for body in bodies])
    for body, whole in zip(bodies, wholes):
        settled = whole["decided_at"]
        for cut in cuts(body, dice):
            lines.append(cut)
            wanted.append((whole["protocol"], settled, body))
        if settled:
            lines.append([body[:settled]])
            wanted.append((whole["protocol"], settled, body))
            lines.append([body[: settled - 1]])
            wanted.append((None, None, body))
    for answer, line, (protocol, settled, body) in zip(explain(lines), lines, wanted):
        if settled is None and len(b"".join(line)) < len(body):
            assert answer["decided_at"] is None, (answer, body[:200].hex())
        else:
            assert (answer["protocol"], answer["decided_at"]) == (protocol, settled), (answer, body[:200].hex())


def explain(streams):
    text = "".join(json.dumps({"transport": "tcp", "segments": [part.hex() for part in parts if part]}) + "\n" for parts in streams)
    result = subprocess.run([harness.BINARY, "explain", "--batch", "-"], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]
