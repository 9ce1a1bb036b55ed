"""How the tree is configured and its unit tests are run: what the first two commands on a fresh machine lead to."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from harness import IS_ROOT, SOURCE, slow

PARTS = ("Makefile", "meson.build", "meson_options.txt", "bench", "etc", "examples", "include", "lib", "man", "modules", "scripts", "src",
         "tests/faults", "tests/fuzz", "tests/modules", "tests/unit")
DPKG_QUERY = """#!/bin/sh
[ ! -e {dir}/arrived ] || exec /usr/bin/dpkg-query "$@"
for package; do :; done
[ "$package" != libcmocka-dev ] || exit 1
exec /usr/bin/dpkg-query "$@"
"""


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=slow(300), check=False, **options)


def unit_tests(build):
    found = run("meson", "introspect", "--tests", build)
    assert found.returncode == 0, found.stderr
    return {one["name"] for one in json.loads(found.stdout)}


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources, with nothing built."""
    for name in PARTS:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, tmp_path / "tree" / name, ignore=shutil.ignore_patterns("seeds", "__pycache__"))
        else:
            shutil.copy(SOURCE / name, tmp_path / "tree" / name)
    return tmp_path / "tree"


def test_what_was_installed_after_the_first_build_is_found_by_the_next(tree, tmp_path):
    """`make run` on a machine without cmocka, then `make test`, which installs it."""
    tools, packages = tmp_path / "tools", tmp_path / "packages"
    tools.mkdir()
    packages.mkdir()
    (tools / "dpkg-query").write_text(DPKG_QUERY.format(dir=tmp_path))
    (tools / "dpkg-query").chmod(0o755)
    path = run("pkg-config", "--variable=pc_path", "pkg-config").stdout.strip()
    for folder in path.split(":"):
        for file in pathlib.Path(folder).glob("*.pc"):
            if file.stem != "cmocka" and not (packages / file.name).exists():
                (packages / file.name).symlink_to(file)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

    first = run("scripts/configure", "build", cwd=tree, env={**env, "PKG_CONFIG_LIBDIR": str(packages)})
    assert first.returncode == 0, first.stderr
    assert not unit_tests(tree / "build")
    nothing_ran = run("scripts/unit-tests", "build", cwd=tree, env=env)
    assert nothing_ran.returncode == 1
    assert "unit programs did not run" in nothing_ran.stderr

    (tmp_path / "arrived").touch()
    second = run("scripts/configure", "build", cwd=tree, env=env)
    assert second.returncode == 0, second.stderr
    assert unit_tests(tree / "build") == {file.stem.removeprefix("test_") for file in (tree / "tests/unit").glob("test_*.c")}
    configured = (tree / "build/build.ninja").stat().st_mtime_ns
    assert run("scripts/configure", "build", cwd=tree, env=env).returncode == 0
    assert (tree / "build/build.ninja").stat().st_mtime_ns == configured

    moved = tree.rename(tmp_path / "elsewhere")
    third = run("scripts/configure", "build", cwd=moved, env=env)
    assert third.returncode == 0, third.stderr
    assert str(tree) not in (moved / "build/build.ninja").read_text()


def test_another_prefix_compiles_two_files_again(tree):
    assert run("scripts/configure", "build", "--prefix=/usr", cwd=tree).returncode == 0
    sources = [tree / "build/src/base/paths.c", tree / "build/lib/usher_accept_library.c"]

    def built():
        return (tree / "build/compile_commands.json").read_text(), [file.read_text() for file in sources]

    commands, paths = built()
    assert run("meson", "configure", "build", "-Dprefix=/opt/usher", cwd=tree).returncode == 0
    assert run("meson", "setup", "--reconfigure", "build", cwd=tree).returncode == 0
    again, others = built()
    assert again == commands, "nothing else is compiled in another way"
    assert all("/opt/usher" in new and "/opt/usher" not in old for new, old in zip(others, paths))
    assert '"/opt/usher/etc/usher/usher.conf"' in others[0] and '"/etc/usher/usher.conf"' in paths[0]


def test_a_build_directory_of_somebody_else_is_named(place):
    (place / "scripts").mkdir()
    shutil.copy(SOURCE / "scripts/configure", place / "scripts")
    (place / "build").mkdir(mode=0o555)
    ordinary = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if IS_ROOT else []
    refused = run(*ordinary, "scripts/configure", "build", cwd=place)
    assert refused.returncode == 1
    assert "build belongs to" in refused.stderr
    assert "BUILD=DIR" in refused.stderr


UNIT_PROJECT = """
project('tiny')
test('passes', find_program('true'), suite: 'unit')
test('skips', find_program('sh'), args: ['-c', 'echo no reason; exit 77'], suite: 'unit')
"""


def test_a_unit_program_that_does_not_run_fails_the_run(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "tests/unit").mkdir(parents=True)
    shutil.copy(SOURCE / "scripts/unit-tests", tmp_path / "scripts")
    (tmp_path / "meson.build").write_text(UNIT_PROJECT)
    for name in ("passes", "skips"):
        (tmp_path / f"tests/unit/test_{name}.c").touch()
    assert run("meson", "setup", "build", cwd=tmp_path).returncode == 0
    done = run("scripts/unit-tests", "build", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("unit programs: 1 of 2 passed, skips skipped (no reason)\n")
    assert (tmp_path / "build/unit-tests.txt").read_text() == "unit programs: 1 of 2 passed, skips skipped (no reason)\n"

    (tmp_path / "tests/unit/test_lost.c").touch()
    done = run("scripts/unit-tests", "build", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("1 unit programs did not run, though there are files of them in tests/unit: lost")
