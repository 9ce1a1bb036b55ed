"""What real clients sent first (tests/corpus) gets its name, or none where that is said here; never another's."""

import pathlib
import sys

import harness
import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "accuracy"))

import accuracy  # noqa: E402

# What is what it says and cannot be told: the ids begin so. Each must really be without a name, or it does not belong here.
UNTOLD = {
    "openvpn-tcp-static": "OpenVPN with a static key looks like noise behind a length word",
    "rdp-xfreerdp3-no-negotiation": "no connection request at all, the MCS Connect-Initial at once",
    "redis-library-inline-set": "an inline command with arguments is any line of text",
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


def test_nothing_of_the_machine_is_in_the_bytes():
    for flow in accuracy.read_corpus():
        data = bytes.fromhex("".join(flow["segments"]))
        assert not any(word in data + flow["command"].encode() for word in (b"/work/", b"/tmp/w/", b"/var/tmp/")), flow["id"]


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


def test_what_is_said_to_be_untold_is_so(judged):
    flows, _, answers = judged
    for start in UNTOLD:
        ids = [flow["id"] for flow in flows if flow["id"].startswith(start)]
        assert ids and all(answers[name] is None for name in ids), start


@pytest.mark.parametrize("size", [1, 7, 1460])
def test_the_answer_is_the_same_however_it_was_cut(judged, size):
    flows, _, answers = judged
    streams = [flow for flow in flows if flow["transport"] == "tcp"]
    cut = []
    for flow in streams:
        text = "".join(flow["segments"])
        cut.append(flow | {"segments": [text[at : at + 2 * size] for at in range(0, len(text), 2 * size)]})
    again = accuracy.Usher(harness.BINARY).answers(cut)
    assert {name: answers[name] for name in again} == again
