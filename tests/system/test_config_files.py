"""A configuration in several files, and one of another program."""

import pytest
from harness import SOURCE, run_usher, write_config

SERVICE = '{{ name = "{name}"; match = "{match}"; connect = "127.0.0.1:{port}"; }},\n'


def in_files(place, **services):
    """A file for each service in services.d, included by a pattern."""
    folder = place / "services.d"
    folder.mkdir()
    for number, (name, match) in enumerate(services.items()):
        (folder / f"{name}.conf").write_text(SERVICE.format(name=name, match=match, port=4000 + number))
    return write_config(place, 'listen = "127.0.0.1:4999"; workers = 1;\nservices = (\n@include "services.d/*.conf"\n);\n')


def test_files_that_match_are_included_in_the_order_of_their_names(place):
    checked = run_usher("check", "-c", in_files(place, b="tls", a="ssh", c="http"))
    assert (checked.returncode, checked.stderr) == (0, "")
    rows = [line.split()[:3] for line in checked.stdout.splitlines() if line.split()[:1] in (["1"], ["2"], ["3"])]
    assert rows == [["1", "a", "ssh"], ["2", "b", "tls"], ["3", "c", "http"]]


def test_an_error_names_the_file_that_matched_and_its_line(place):
    file = in_files(place, a="ssh", b="tls")
    (place / "services.d/b.conf").write_text('# comment\n' + SERVICE.format(name="b", match="shh", port=1))
    checked = run_usher("check", "-c", file)
    assert checked.returncode == 2
    assert "services.d/b.conf:2: " in checked.stderr
    assert "did you mean `ssh'?" in checked.stderr


def test_a_pattern_that_matches_nothing_is_no_error(place):
    file = write_config(place, '@include "none.d/*.conf"\nlisten = "127.0.0.1:4999";\n@include "*.none"\n'
                        'services = ( ' + SERVICE.format(name="a", match="ssh", port=1) + ');\n')
    checked = run_usher("check", "-c", file)
    assert (checked.returncode, checked.stderr) == (0, "")


THEIRS = {
    "sslh": ("-F", 'listen: ( { host: "127.0.0.1"; port: "4999"; } );\nprotocols: ( { name: "ssh"; host: "127.0.0.1"; port: "22"; } );\n'),
    "tcpmux": ("-c", (SOURCE / "examples/tcpmux/tcpmux.cfg").read_text()),
    "portsplit": ("--", (SOURCE / "examples/portsplit/portsplit.conf").read_text()),
}


@pytest.mark.parametrize("program", THEIRS)
def test_convert_prints_what_the_command_of_the_program_prints(program, place):
    option, text = THEIRS[program]
    file = write_config(place, text, f"{program}.cfg")
    converted = run_usher("convert", program, file, cwd=place)
    printed = run_usher(program, "--print", option, file, cwd=place)
    assert (converted.returncode, converted.stdout, converted.stderr) == (printed.returncode, printed.stdout, printed.stderr)
    assert "services = (" in converted.stdout


@pytest.mark.parametrize("words", [[], ["sslh"], ["haproxy", "x"], ["sslh", "x", "y"], ["--print", "sslh"]])
def test_convert_refuses_other_words(words):
    refused = run_usher("convert", *words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "sslh" in refused.stderr


def test_convert_says_what_is_wrong_with_the_file(place):
    refused = run_usher("convert", "portsplit", place / "missing")
    assert refused.returncode == 2
    assert f"{place / 'missing'}: cannot be read" in refused.stderr
