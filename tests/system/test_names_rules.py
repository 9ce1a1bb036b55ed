"""Rules of hosts.allow and hosts.deny that name clients, and name servers that do not say who these are."""

import name_server
import pytest
from harness import BUILD, slow
from sslhs import SAYS, echoes, entry, listen, protocols  # noqa: F401


@pytest.mark.skipif(name_server.WHY_NOT is not None, reason=str(name_server.WHY_NOT))
@pytest.mark.skipif(not (BUILD / "src/usher-libwrap").exists(), reason="built without libwrap")
@pytest.mark.parametrize("numeric", ["", "-n"])
@pytest.mark.parametrize("allow, deny, admitted", [("", "sshd: PARANOID", True), ("", "ALL: .spammer.example", True),
                                                   ("sshd: .friend.example", "ALL: ALL", False),
                                                   ("sshd: 127.0.0.1", "ALL: .spammer.example", True)])
def test_rules_by_name_shut_out_nobody_while_name_servers_are_silent(usher, echoes, place, allow, deny, admitted, numeric):
    """As with sslh, a name that is not found is unknown, and no rule names it. With -n it is not asked for."""
    (a,) = echoes("a")
    names = name_server.NameServer()
    names.mode[None] = "silent"
    place.chmod(0o755)
    for name, rules in (("allow", allow), ("deny", deny)):
        (place / name).write_text(rules + "\n")
        (place / name).chmod(0o644)
    mounts = f"mount --bind {place}/allow /etc/hosts.allow; mount --bind {place}/deny /etc/hosts.deny; "
    one = usher(listen() + protocols(entry("ssh", a, 'service: "sshd";')), wrapper=lambda command: names.wrapper(
        place, hosts="", more=mounts)([command[0], "sslh", "-f", *numeric.split(), "-F" + command[3]]))
    with one.connect() as client:
        client.settimeout(slow(60))
        client.sendall(SAYS["ssh"])
        try:
            answer = client.recv(1)
        except ConnectionResetError:
            answer = b""
    assert (answer == b"a") == admitted
    assert bool(names.asked) == (not numeric and "127.0.0.1" not in allow)
    names.close()
