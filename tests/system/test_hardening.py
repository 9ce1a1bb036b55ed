"""What is built and installed is hardened: position-independent, read-only where it can be, with checks of stack and buffers."""

import json
import os
import pathlib
import platform
import re
import shlex
import subprocess

import pytest
from harness import BINARY, SOURCE

BUILD = pathlib.Path(BINARY).resolve().parent.parent
INSTALLED = {"usher", "usher-access", "usher-accept", "libusher-accept.so", "libusher-handover.so"}


def output(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def options():
    return {one["name"]: one["value"] for one in json.loads(output("meson", "introspect", "--buildoptions", str(BUILD)))}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Every ELF file that an installation has, by its name without a version."""
    if options()["b_sanitize"] != "none":
        pytest.skip("built for a sanitizer, which replaces these checks by its own")
    place = tmp_path_factory.mktemp("installed")
    output("meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir", str(place))
    found = {}
    for path in place.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF":
            found[re.sub(r"\.so\..*", ".so", path.name)] = path
    return found


def each(installed):
    assert installed.keys() >= INSTALLED
    return installed.items()


def test_everything_is_position_independent(installed):
    for name, path in each(installed):
        assert re.search(r"Type:\s+DYN", output("readelf", "-hW", path)), name
        is_program = "INTERP" in output("readelf", "-lW", path)
        assert is_program == (".so" not in name), name
        assert not is_program or re.search(r"FLAGS_1.*\bPIE\b", output("readelf", "-dW", path)), name


def test_relocations_are_read_only_once_the_program_runs(installed):
    for name, path in each(installed):
        dynamic = output("readelf", "-dW", path)
        assert "GNU_RELRO" in output("readelf", "-lW", path), name
        assert "BIND_NOW" in dynamic and re.search(r"FLAGS_1.*\bNOW\b", dynamic), name
        assert "TEXTREL" not in dynamic, name


def test_no_memory_is_writable_and_executable(installed):
    for name, path in each(installed):
        segments = output("readelf", "-lW", path)
        (stack,) = re.findall(r"GNU_STACK .*", segments)
        assert re.search(r"\bRW\s+0x", stack), f"{name}: {stack}"
        assert not re.search(r"\bLOAD .*\bRWE\b", segments), name


def test_libraries_are_not_looked_for_in_places_of_our_own(installed):
    for name, path in each(installed):
        assert not re.search(r"RPATH|RUNPATH", output("readelf", "-dW", path)), name


def test_stacks_and_buffers_are_checked(installed):
    for name, path in each(installed):
        symbols = set(re.findall(r"\b(__\w+_(?:chk|fail))\b", output("readelf", "--dyn-syms", "-W", path)))
        assert "__stack_chk_fail" in symbols, name
        # usher-libwrap copies nothing
        assert name == "usher-libwrap" or symbols - {"__stack_chk_fail"}, f"{name} calls no checked function of glibc"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86-64")
def test_indirect_calls_arrive_at_marked_places(installed):
    for name, path in each(installed):
        marked = output("objdump", "-d", "--no-show-raw-insn", path).count("endbr64")
        assert marked >= (500 if name == "usher" else 1), f"{name}: {marked}"


def test_every_file_is_compiled_so(installed):
    wanted = {"-fstack-protector-strong", "-fstack-clash-protection"}
    if platform.machine() == "x86_64":
        wanted.add("-fcf-protection")
    seen = 0
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        # Relative to the build as it was configured: the tests may see the tree at another place.
        path = pathlib.Path(os.path.relpath(pathlib.Path(entry["directory"], entry["file"]), pathlib.Path(entry["directory"]).parent))
        words = set(shlex.split(entry["command"]))
        if path.parts[0] in ("src", "lib", "modules"):
            seen += 1
            assert wanted <= words, path
            assert words & {"-D_FORTIFY_SOURCE=2", "-D_FORTIFY_SOURCE=3"}, path
    assert seen > 100


def test_a_build_is_optimized_unless_asked_not_to_be(tmp_path):
    """The checks of buffers need it."""
    output("meson", "setup", str(tmp_path / "build"), str(SOURCE))
    found = {one["name"]: one["value"] for one in
             json.loads(output("meson", "introspect", "--buildoptions", str(tmp_path / "build")))}
    assert found["optimization"] == "2" and found["b_pie"] is True
    assert "-O2" in (tmp_path / "build/compile_commands.json").read_text()
