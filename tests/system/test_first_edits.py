"""The configuration that is installed, and the smallest of the examples, after the first edits that one makes to them."""

import re

import pytest
from harness import IS_ROOT, SOURCE, run_usher, write_config

FILES = ("etc/usher.conf", "examples/minimal.conf")
LISTEN = {
    "all addresses": '( "0.0.0.0:443", "[::]:443" )',
    "one address": '"192.0.2.1:443"',
    "loopback": '"127.0.0.1:443"',
    "both ports": '[ "0.0.0.0:443", "[::]:443", "0.0.0.0:80", "[::]:80" ]',
    "one family": '[ "0.0.0.0:443", "0.0.0.0:80" ]',
}


def placed(text, place):
    return text.replace("/run/usher/", f"{place}/").replace("/run/", f"{place}/")


def text_of(file, place):
    return placed((SOURCE / file).read_text(), place)


def check(place, text):
    return run_usher("check", "-c", write_config(place, text))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("listen", LISTEN)
def test_it_listens_on_the_ports_of_the_web(place, file, listen):
    text, count = re.subn(r"^listen = .*?;", f"listen = {LISTEN[listen]};", text_of(file, place), flags=re.M)
    assert count == 1
    result = check(place, text)
    assert (result.returncode, result.stderr) == (0, "")


def settings():
    """What stands in comments: the whole text of each."""
    text = (SOURCE / "etc/usher.conf").read_text()
    found = [match.group() for match in re.finditer(r"^# \w+ = (?:\($(?:\n# .*)*?\n# \);|.*;.*)$", text, re.M)]
    return {re.match(r"# (\w+)", one).group(1): one for one in found}


def test_the_settings_in_comments_are_found():
    assert set(settings()) >= {"user", "group", "workers", "max_connections", "pid_file", "protocols", "identifiers", "on_unknown"}


@pytest.mark.parametrize("name", settings())
def test_a_setting_in_a_comment_may_be_used_as_it_stands(place, name):
    if name in ("user", "group") and not IS_ROOT:
        pytest.skip("needs root: to become somebody else")
    text = (SOURCE / "etc/usher.conf").read_text()
    for block in [settings()[name], settings()["user"]] if name == "group" else [settings()[name]]:
        text = text.replace(block, re.sub(r"^# ?", "", block, flags=re.M))
    text = text.replace('\nuser = "usher"', '\nuser = "nobody"').replace('\ngroup = "usher"', '\ngroup = "nogroup"')
    result = check(place, placed(text, place))
    if name in ("user", "group") and not IS_ROOT:
        assert "to become another needs root" in result.stderr and result.stderr.count("\n") == 1
    elif name == "identifiers" and result.returncode:
        assert re.fullmatch(r"\S+: module `/\S*/ndpi.so': No such file or directory, expected a shared object\n", result.stderr)
    else:
        assert (result.returncode, result.stderr) == (0, "")


def test_the_service_in_a_comment_may_be_used_as_it_stands(place):
    text = text_of("etc/usher.conf", place)
    used = re.sub(r"^\t# (\{ name = .*)\n\t# (.*\},)$", r"\1\n\2", text, flags=re.M)
    assert used != text
    result = check(place, used)
    assert (result.returncode, result.stderr) == (0, "")
    assert "shop" in result.stdout
