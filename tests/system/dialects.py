"""usher under another program's configuration: as that program (`usher tcpmux`, `usher portsplit`, `usher sslh`, a symbolic link
of that name) and as usher itself under what `--print` printed. Both must behave the same, so most tests run twice."""

import subprocess

import pytest
from harness import BINARY, SANITIZER_OPTIONS, Usher, end_ushers, run_usher, slow, wait_until

WAYS = pytest.mark.parametrize("way", ["dialect", "printed"])


def file_arguments(dialect, file, args=()):
    if dialect == "tcpmux":
        return ["-c", file, *args]
    return [f"-F{file}", "-f", *args] if dialect == "sslh" else [file, *args]


class Foreign(Usher):
    """`dialect` is tcpmux, portsplit or sslh; `way` is "dialect", "printed" (natively, under what --print says) or "link" (by a
    symbolic link of the program's name, or of the name `link`). It runs in its own directory, where the configuration's relative paths lead."""

    def __init__(self, dialect, config, way="dialect", link=None, **options):
        super().__init__(config, **options)
        self.env.setdefault("RUNTIME_DIRECTORY", str(self.dir))  # where its control socket is, else in the system's own place
        self.dialect, self.way, self.link = dialect, way, link or dialect
        self.wrapper = lambda command: ["/usr/bin/env", "-C", str(self.dir), *command]

    def write(self, config=None):
        file = self.dir / (self.dialect + ".conf")
        file.write_text(self.text(config), newline="")
        self.file = file
        if self.way == "printed":
            printed = self.run("--print")
            assert printed.returncode == 0, printed.stderr
            self.file = self.dir / "usher.conf"
            self.file.write_text(printed.stdout)
        return self.file

    def arguments(self):
        args = [self.text(arg) for arg in self.args]
        return file_arguments(self.dialect, self.dialect + ".conf", args)

    def run(self, *more):
        """The dialect itself, for what ends by itself."""
        return subprocess.run([str(BINARY), self.dialect, *more, *self.arguments()], cwd=self.dir, capture_output=True,
                              text=True, timeout=slow(20), env={**self.env, **SANITIZER_OPTIONS}, check=False)

    def command(self):
        if self.way == "printed":
            return [str(BINARY), "run", "-c", "usher.conf", *[arg for arg in self.args if arg in ("-d", "-i")]]
        if self.way == "link":
            link = self.dir / self.link
            if not link.exists():
                link.symlink_to(BINARY)
            return [str(link), *self.arguments()]
        return [str(BINARY), self.dialect, *self.arguments()]

    def reload(self, config=None, timeout=10.0, signal_number=1):
        before = self.output().count("notice serving: ")
        if config is not None:
            self.write(config)
        self.send_signal(signal_number)
        wait_until(lambda: self.output().count("notice serving: ") > before, timeout, "the reload:\n" + self.output()[-2000:])
        self.seen.look()


def fixture_of(dialect):
    """A fixture like `usher`, of a dialect: start(config, way=..., args=...)."""

    @pytest.fixture
    def running():
        started = []

        def start(config, serving=True, **options):
            one = Foreign(dialect, config, **options)
            started.append(one)
            return one.start() if serving else one.launch()

        yield start
        end_ushers(started)

    return running


def complaints_of(place, dialect, text, *args):
    """Exit status and complaints of a configuration that does not serve; FILE stands for its name."""
    file = place / (dialect + ".conf")
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run_usher(dialect, *file_arguments(dialect, file, args), cwd=place)
    assert done.stdout == ""
    return done.returncode, done.stderr.replace(str(file), "FILE").splitlines()
