"""Clients that wait for the server: of HTTP/2, who name their host late, and of servers that speak first."""


import pytest
from harness import read_exactly, run_usher, write_config
from peers import Backend

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and SETTINGS
WINDOW_UPDATE = bytes([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0])


def headers(host):
    block = b"\x82\x86\x84\x41" + bytes([len(host)]) + host  # GET, http, /, and :authority
    return bytes([0, 0, len(block), 1, 5, 0, 0, 0, 1]) + block


BY_HOST = """
listen = "127.0.0.1:{port}";
workers = 1;
decide_timeout = 600;
{search}
services = (
  { name = "a"; match = { host = "a.example"; }; connect = "127.0.0.1:{a}"; },
  { name = "web"; match = "http"; connect = "127.0.0.1:{web}"; } );
"""


@pytest.mark.parametrize("search", ["", "search_timeout = 0.2;", "search_timeout = 300;"])
@pytest.mark.parametrize("said", [PREFACE, PREFACE + WINDOW_UPDATE])
def test_a_client_of_http_2_that_waits_for_settings_is_decided_long_before_the_deadline(usher, search, said):
    with Backend() as a, Backend() as web:
        one = usher(BY_HOST, a=a.port, web=web.port, search=search)
        with one.connect() as client:
            client.sendall(said)
            with web.accept(60) as server:
                assert read_exactly(server, len(said)) == said
                client.sendall(headers(b"a.example"))
                assert read_exactly(server, len(headers(b"a.example"))) == headers(b"a.example")


def test_one_that_does_not_wait_has_its_host(usher):
    with Backend() as a, Backend() as web:
        one = usher(BY_HOST, a=a.port, web=web.port, search="search_timeout = 600;")
        with one.connect() as client:
            client.sendall(PREFACE)
            client.sendall(headers(b"a.example"))
            with a.accept(60) as server:
                whole = PREFACE + headers(b"a.example")
                assert read_exactly(server, len(whole)) == whole


def test_one_whose_frame_is_cut_is_waited_for(usher):
    """It is going to say more by itself."""
    with Backend() as a, Backend() as web:
        one = usher(BY_HOST, a=a.port, web=web.port, search="search_timeout = 0.1;")
        with one.connect() as client:
            client.sendall(PREFACE + headers(b"a.example")[:9])
            assert web.nobody_comes(1.5)
            client.sendall(headers(b"a.example")[9:])
            a.accept(60).close()


def test_a_grpc_client_reaches_the_service_for_http_2(usher):
    grpc = pytest.importorskip("grpc")
    from concurrent import futures

    answer = grpc.unary_unary_rpc_method_handler(lambda request, context: b"answer")
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s.S", {"M": answer}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        one = usher("""
listen = "127.0.0.1:{port}";
services = (
  { name = "host"; match = { host = "a.example"; }; reject = "close"; },
  { name = "grpc"; match = { protocol = "http"; version = "2"; }; connect = "127.0.0.1:{grpc}"; } );
""", grpc=port)
        with grpc.insecure_channel(f"127.0.0.1:{one.port}") as channel:
            assert channel.unary_unary("/s.S/M")(b"x", timeout=60)
        assert one.wait_connections(1, service="grpc")
    finally:
        server.stop(None)


CHECKED = """
listen = ( "127.0.0.1:4001", "127.0.0.1:4002" );
services = ( %s );
"""


def warnings_of(place, *services):
    text = CHECKED % ", ".join('{ name = "%s"; %s connect = "127.0.0.1:1"; }' % service for service in services)
    result = run_usher("check", "-c", write_config(place, text))
    assert result.returncode == 0, result.stderr
    return [line.split(": warning: ", 1)[1] for line in result.stderr.splitlines()]


@pytest.mark.parametrize("protocol, is_hidden", [("mysql", True), ("vnc", True), ("imap", True), ("pop3", True), ("ftp", False),
                                                 ("ssh", False), ("http", False)])
def test_check_says_which_servers_a_banner_hides(place, protocol, is_hidden):
    said = warnings_of(place, ("mail", 'match = "smtp"; banner = true;'), ("other", f'match = "{protocol}";'))
    assert [f"clients of `{protocol}' wait for their server, so on listener `127.0.0.1:4001' they are shown the banner of service "
            "`mail' (line 3), and service `other' gets none of them"] * is_hidden == said


def test_a_banner_hides_only_what_is_on_its_listener(place):
    mail = ("mail", 'match = { protocol = "smtp"; listener = "127.0.0.1:4002"; }; banner = true;')
    assert "listener `127.0.0.1:4002'" in warnings_of(place, mail, ("vnc", 'match = "vnc";'))[0]
    assert not warnings_of(place, mail, ("vnc", 'match = { protocol = "vnc"; listener = "127.0.0.1:4001"; };'))


def test_a_banner_of_an_unknown_protocol_hides_only_what_has_no_greeting_of_a_kind(place):
    """Nobody knows what it says."""
    unknown = ("first", "banner = true;")
    assert not warnings_of(place, unknown, ("mail", 'match = "smtp";'))
    assert warnings_of(place, unknown, ("db", 'match = "mysql";'))


def test_check_says_that_clients_of_mysql_never_speak_first(place):
    (said,) = warnings_of(place, ("db", 'match = "mysql";'))
    assert said.startswith("clients of `mysql' say nothing before their server does, so service `db' gets none")
    text = CHECKED % '{ name = "db"; match = "mysql"; connect = "127.0.0.1:1"; }' + 'on_silence = "db";'
    assert not run_usher("check", "-c", write_config(place, text)).stderr


@pytest.mark.parametrize("match, is_late", [
    ('{ host = "a.example"; version = "2"; }', True), ('{ path = "/helloworld.Greeter/*"; }', True), ('{ path = "/s.S/M"; }', True),
    ('{ version = "2"; protocol = "http"; }', False), ('{ host = "a.example"; }', False), ('{ path = "/a.b/c.html"; }', False),
    ('{ path = "/a/*"; }', False), ('{ path = "/.well-known/*"; }', False), ('{ path = "/index.php/*"; }', False),
])
def test_check_says_what_clients_of_grpc_do_not_say_in_time(place, match, is_late):
    said = warnings_of(place, ("grpc", f"match = {match};"))
    assert len(said) == is_late and all("clients of gRPC" in line for line in said)


def test_a_program_on_pipes_that_answers_without_reading_loses_no_answer(usher, place):
    """With the client's socket the system would reset the connection over the unread request."""
    program = place / "redirect"
    program.write_text("#!/bin/sh\nprintf 'HTTP/1.1 301 Moved\\r\\nLocation: https://a.example/\\r\\n\\r\\n'\n")
    program.chmod(0o755)
    place.chmod(0o755)
    one = usher('listen = "127.0.0.1:{port}"; services = ( { name = "r"; match = "http"; exec = [ "{program}" ]; stdio = "pipe"; } );',
                program=program)
    for _ in range(30):
        with one.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while piece := client.recv(4096):
                answer += piece
            assert answer.endswith(b"Location: https://a.example/\r\n\r\n")
