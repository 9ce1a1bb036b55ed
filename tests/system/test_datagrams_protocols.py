"""All protocols of datagrams on one port: what real clients sent (tests/corpus) gets to the server of its protocol, and the answer back."""

import pathlib
import sys

from datagrams import Server, client

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "accuracy")]

import accuracy  # noqa: E402

CONFIG = """
listen = "udp:127.0.0.1:{{port}}"; workers = 2; on_unknown = "rest"; decide_timeout = 0.5; drain_timeout = 0.1;
services = ( {services}, {{ name = "rest"; connect = "{rest}"; }} );
"""
WEAK = ("coap", "rtp")  # which the manual says are to be behind all others


def test_every_recorded_flow_gets_to_the_server_of_its_protocol(usher):
    flows = [flow for flow in accuracy.read_corpus() if flow["transport"] == "udp"]
    labels = sorted({flow["protocol"] for flow in flows} - {"unknown"}, key=lambda label: (label in WEAK, label))
    clients = []  # open to the end: a port that is used again would belong to an earlier flow
    servers = {label: Server(answer=lambda datagram, label=label: [label.encode()]) for label in [*labels, "unknown"]}
    try:
        services = ", ".join(f'{{ name = "{label}"; match = "{label}"; connect = "{servers[label].text()}"; }}' for label in labels)
        one = usher(CONFIG.format(services=services, rest=servers["unknown"].text()).replace("{{", "{").replace("}}", "}"))
        wrong = []
        for flow in flows:
            clients.append(client(one.port))
            for segment in flow["segments"]:
                clients[-1].send(bytes.fromhex(segment))
            name = clients[-1].recv(64).decode()
            if name != flow["protocol"]:
                wrong.append(f"{flow['id']}: {flow['protocol']} got to {name}")
        assert not wrong, "\n".join(wrong)
    finally:
        for each in [*clients, *servers.values()]:
            each.close()
