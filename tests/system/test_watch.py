"""usher run --watch: the files that its configuration is read from are followed, and a change is a reload."""

import os
import shutil
import signal

import pytest
from harness import BINARY, run_usher, wait_until

CONFIG = """
listen = "127.0.0.1:{port}"; workers = 1; control = "{dir}/control";
services = (
@include "services.d/*.conf"
  { name = "web"; match = "http"; connect = "{echo}"; allow = "file:{dir}/allowed"; } );
"""


def replace(path, text):
    """As most editors and programs do it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


def service(name, match="ssh"):
    return f'{{ name = "{name}"; match = "{match}"; connect = "127.0.0.1:1"; }},\n'


@pytest.fixture
def watched(usher, echo, place):
    (place / "services.d").mkdir()
    (place / "allowed").write_text("127.0.0.0/8\n")

    def start(config=CONFIG, **options):
        one = usher(config, args=["--watch"], directory=place, echo=echo.tcp4, **options)
        wait_until(lambda: one._named("watcher"), 60, "the watcher")
        return one

    return start


def has(one, *names):
    wait_until(lambda: [service["name"] for service in one.ask(b"status")[0]["services"]] == list(names), 60, f"services {names}")


def reloads(one):
    return one.output().count("notice serving: ") - 1


def is_reloaded_once(one):
    """The log's line may come after the news."""
    wait_until(lambda: reloads(one) > 0, 60, "the line in the log")
    return reloads(one) == 1


def test_a_file_that_is_replaced_is_read_again(watched):
    one = watched()
    replace(one.file, one.text().replace('"web"', '"other"'))
    has(one, "other")
    one.wait_log("usher.conf: changed, read again")


def test_a_file_that_is_written_in_place_is_read_again(watched):
    one = watched()
    with one.file.open("r+") as file:
        text = file.read().replace('"web"', '"longer"')
        file.seek(0)
        file.write(text)
    has(one, "longer")


def test_files_that_match_a_pattern_come_change_and_go(watched):
    one = watched()
    (one.dir / "services.d/1.conf").write_text(service("one"))
    has(one, "one", "web")
    replace(one.dir / "services.d/1.conf", service("two"))
    has(one, "two", "web")
    (one.dir / "services.d/1.conf").unlink()
    has(one, "web")
    (one.dir / "services.d").rename(one.dir / "old.d")
    (one.dir / "new.d").mkdir()
    (one.dir / "new.d/1.conf").write_text(service("three"))
    (one.dir / "new.d").rename(one.dir / "services.d")
    has(one, "three", "web")


def test_a_list_of_addresses_is_followed(watched):
    one = watched()
    replace(one.dir / "allowed", "192.0.2.0/24\n")
    wait_until(lambda: reloads(one) == 1, 60, "a reload")
    with one.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100) == b""


def test_a_broken_file_changes_nothing_is_said_once_and_is_read_when_it_is_mended(watched):
    one = watched()
    replace(one.dir / "services.d/1.conf", service("one", match="shh"))
    one.wait_log("reload refused", timeout=60)
    has(one, "web")
    replace(one.dir / "services.d/1.conf", service("one"))
    has(one, "one", "web")
    assert one.output().count("did you mean `ssh'?") == one.output().count("reload refused") == 1
    assert is_reloaded_once(one)


def test_other_files_of_the_folder_are_no_change(watched):
    one = watched()
    (one.dir / "services.d/notes.txt").write_text("x")
    (one.dir / "usher.conf.bak").write_text("x")
    replace(one.dir / "services.d/1.conf", service("one"))  # and this one comes after them
    has(one, "one", "web")
    assert is_reloaded_once(one)


def projected(folder, version, text):
    """A volume as Kubernetes' kubelet writes it: a folder for each version, and a link that is replaced."""
    data = folder / f"..{version}"
    data.mkdir(parents=True)
    (data / "usher.conf").write_text(text)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")


def test_a_volume_of_kubernetes_is_followed_over_and_over(watched, place):
    volume = place / "volume"
    one = watched()
    projected(volume, "1", one.text())
    (volume / "usher.conf").symlink_to("..data/usher.conf")
    one.file.unlink()
    one.file.symlink_to("volume/usher.conf")
    wait_until(lambda: reloads(one) >= 1, 60, "the volume")
    for version in ("2", "3", "4"):
        projected(volume, version, one.text().replace('"web"', f'"version-{version}"').replace(
            "services.d/", f"{place}/services.d/"))
        has(one, f"version-{version}")
        shutil.rmtree(volume / f"..{int(version) - 1}")


def test_what_changes_while_usher_reads_its_configuration_for_the_first_time_is_not_missed(watched, place):
    """The file is another one between the start and the first look of the watcher."""
    late = place / "late"
    one = watched(wrapper=lambda command: ["sh", "-c", f'(while ! [ -e "{place}/control" ]; do :; done; sed "s/web/late/" '
                                           f'"{place}/usher.conf" >"{late}"; mv "{late}" "{place}/usher.conf") & exec "$@"',
                                           "sh", *command], may_leave=("sh", "sed", "mv"))
    has(one, "late")


def test_the_watcher_is_started_again_and_what_changed_meanwhile_is_seen(watched):
    one = watched(may_crash=True)
    (watcher,) = one._named("watcher")
    os.kill(watcher, signal.SIGSTOP)
    replace(one.file, one.text().replace('"web"', '"meanwhile"'))
    os.kill(watcher, signal.SIGKILL)
    has(one, "meanwhile")
    one.wait_log("the watcher died and is started again", timeout=60)


def test_the_master_does_not_wait_for_a_watcher_that_is_stopped(watched):
    one = watched()
    (watcher,) = one._named("watcher")
    os.kill(watcher, signal.SIGSTOP)
    one.reload(one.text().replace('"web"', '"now"'))
    has(one, "now")


def test_after_an_upgrade_files_are_followed_by_another_watcher(watched, place):
    binary = place / "usher"
    shutil.copy(BINARY, binary)
    one = watched(wrapper=lambda command: [str(binary), *command[1:]])
    before = one._named("watcher")
    assert one.ask(b"upgrade", timeout=120) == [{"done": "upgraded"}]
    wait_until(lambda: one._named("watcher") and one._named("watcher") != before, 60, "another watcher")
    replace(one.file, one.text().replace('"web"', '"after"'))
    has(one, "after")
    assert len(one._named("watcher")) == 1


def test_without_the_option_nothing_is_followed(usher, echo):
    one = usher('listen = "127.0.0.1:{port}"; services = ( { name = "web"; match = "http"; connect = "{echo}"; } );', echo=echo.tcp4)
    assert one._named("watcher") == []


def test_watch_does_not_go_with_inetd():
    refused = run_usher("run", "--watch", "-i")
    assert refused.returncode == 2
    assert "usage:" in refused.stderr
