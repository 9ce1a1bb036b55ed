"""What two builds of usher say to each other across an upgrade has a format with a number. Here is what the declarations of each format
were when its number was last raised: whoever changes one of them is told which number to raise."""

import hashlib
import re

import pytest
from harness import SOURCE

# A format's number; what of which file belongs to it; and number and digest as they were last.
FORMATS = {
    "MIGRANT_FORMAT": ("src/migrate/migrant.h", {
        "src/migrate/migrant.h": ["enum migrant_phase", "struct migrant_hello", "struct migrant_socket", "struct migrant_taken", "struct migrant"],
        "src/shared/affinity.h": ["enum affinity_kind"],
        "src/datagram/datagram_id.h": ["struct datagram_id"],
        "src/datagram/flow_key.h": ["struct flow_key"],
        "src/datagram/flow_state.h": ["struct flow_state", "struct flow_state_kept"],
        "src/stream/stream_state.h": ["enum stream_fd", "struct stream_state_flow", "struct stream_state"],
        "src/session/former.h": ["enum session_text"],
        "src/base/address.h": ["enum transport_kind", "struct address"],
        "src/base/log.h": ["enum log_level"],
        "src/deliver/target.h": ["enum delivery"],
        "src/deliver/relay.h": ["enum side_kind"],
    }),
    "TAKEOVER_FORMAT": ("src/master/takeover.c", {
        "src/shared/message.h": ["enum message_kind", "enum message_program", "enum report_about", "struct message_spawn",
                                 "struct message_identify", "struct message_connect", "struct message_want_sockets", "struct message_want_client",
                                 "struct message_forward",
                                 "struct message_answer", "struct message_ask_anew", "struct message_find_name", "struct message_reported",
                                 "struct message_verdict", "struct message_exited", "struct message_log", "struct message_report",
                                 "struct message_peer", "struct message_hold", "struct message_resume", "struct message"],
        "src/shared/limits_layout.h": ["struct entry", "struct transit_record", "struct slot", "struct rate", "struct limits"],
        "src/shared/affinity.h": ["enum affinity_kind"],
        "src/shared/affinity.c": ["struct entry", "struct group", "struct affinity"],
        "src/shared/counters.h": ["enum counter_kind", "struct counter", "struct measures"],
        "src/shared/histogram.h": ["enum histogram_kind", "struct histogram"],
        "src/shared/shared.h": ["struct shared_slot", "struct shared_page"],
        "src/shared/pace_table.h": ["struct pace_table"],
        "src/shared/backend_table.h": ["struct backend_record", "struct backend_check", "enum backend_mode", "struct backend_order"],
        "src/shared/backend_table.c": ["struct backend_slot", "struct backend_any", "struct backend_checker", "struct backend_table"],
        "src/shared/backend_health.c": ["enum state", "struct health"],
        "src/shared/check_result.h": ["enum check_result"],
        "src/shared/live_list.c": ["struct place", "struct live_list"],
        "src/base/address.h": ["struct address"],
        "src/base/resolved.c": ["struct resolved_word", "struct answer", "struct slot"],
        "src/base/shared_address.h": ["struct shared_address"],
        "src/base/name_cache.c": ["struct cache_entry", "struct name_cache"],
        "src/base/socket_file.h": ["struct socket_file"],
        "src/master/sockets.h": ["struct socket_held"],
        "src/master/takeover.h": ["struct takeover_child", "struct takeover_worker", "struct takeover_program", "struct takeover"],
    }),
}
RECORDED = {
    "MIGRANT_FORMAT": (11, "542cf4e0bf59409d"),
    "TAKEOVER_FORMAT": (26, "05d13e806337815a"),
}


def declaration(path, name):
    """Its text without comments, with one blank between words."""
    text = re.sub(r"/\*.*?\*/", " ", (SOURCE / path).read_text(), flags=re.DOTALL)
    found = re.search(rf"^{name} \{{[^\n]*\}};|^{name} \{{.*?^\}};", text, re.DOTALL | re.MULTILINE)
    assert found, f"{path} has no {name} any more: correct the list in {__file__}"
    return " ".join(re.findall(r"\w+|[^\w\s]", found.group()))


@pytest.mark.parametrize("name", FORMATS)
def test_whoever_changes_what_crosses_an_upgrade_raises_the_number_of_its_format(name):
    home, places = FORMATS[name]
    number = int(re.search(rf"#define {name}\s+(\d+)", (SOURCE / home).read_text()).group(1))
    declared = [declaration(path, one) for path, names in places.items() for one in names]
    digest = hashlib.sha256("\n".join(declared).encode()).hexdigest()[:16]
    was, digest_was = RECORDED[name]
    if digest != digest_was:
        assert number > was, (f"one of {', '.join(places)} has changed: raise {name} in {home} above {was}, "
                              f"then record it in {__file__}: ({was + 1}, \"{digest}\")")
    assert (number, digest) == RECORDED[name], f"{name} was raised: record it in {__file__}: ({number}, \"{digest}\")"
