"""What `make demo` and `make test` say first, on machines that lack things."""

import os
import re
import shutil
import subprocess

import pytest
from environments import PROJECT

TOOLS = ("sh", "dirname", "sed", "printf", "cut", "sort", "head")
GOOD = {"cargo": "echo cargo 1.95.0", "rustup": ":", "python3": ":", "cc": ":"}


@pytest.fixture
def check(tmp_path):
    """A function that runs the check where only these commands are, as a user or as root."""

    def run(commands, *arguments, root=False, **variables):
        folder = tmp_path / "bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for tool in TOOLS:
            (folder / tool).symlink_to(shutil.which(tool))
        scripts = {"id": f"echo {0 if root else 1000}"} | commands
        for name, script in scripts.items():
            (folder / name).write_text(f"#!{shutil.which('sh')}\n{script}\n")
            (folder / name).chmod(0o755)
        ran = subprocess.run(
            [PROJECT / "scripts/check-machine", *arguments],
            env={"PATH": str(folder), "HOME": str(tmp_path)} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.stderr == ""
        return ran.returncode, ran.stdout

    return run


@pytest.mark.parametrize("goal", ["demo", "test"])
def test_a_machine_that_has_everything(check, goal):
    assert check(GOOD, goal) == (0, "")


@pytest.mark.parametrize("goal", ["demo", "test"])
def test_everything_is_named_at_once(check, goal):
    code, said = check({}, goal, "node:nodejs", "psql:postgresql")
    assert code == 1
    assert said.startswith(f"This machine lacks, for `make {goal}`:\n")
    for what in ("Rust", "sh.rustup.rs", "Python 3.11", "C compiler", "node ", "psql "):
        assert what in said
    packages = "python3 python3-venv build-essential nodejs postgresql"
    assert said.splitlines()[-1] == f"  sudo apt-get install -y {packages}"
    assert said.count("sudo apt-get install") == 1


def test_rust_that_is_not_on_the_path(check, tmp_path):
    cargo = tmp_path / ".cargo/bin/cargo"
    cargo.parent.mkdir(parents=True)
    cargo.write_text("#!/bin/sh\n")
    cargo.chmod(0o755)
    code, said = check({name: GOOD[name] for name in ("python3", "cc")}, "demo")
    assert code == 1
    assert ". ~/.cargo/env" in said


def test_rust_without_rustup(check):
    found = {name: script for name, script in GOOD.items() if name != "rustup"}
    assert check(found, "demo") == (0, "")
    for goal, cargo in (("test", "1.95.0"), ("demo", "1.63.0"), ("demo", "1.9.0")):
        code, said = check(found | {"cargo": f"echo cargo {cargo}"}, goal)
        assert code == 1
        assert f"rustup (this is Rust {cargo})" in said


def test_an_old_python_beside_a_newer_one(check):
    code, said = check(GOOD | {"python3": "exit 1", "python3.12": ":"}, "demo")
    assert code == 1
    assert "make demo PYTHON=python3.12" in said
    assert "apt-get" not in said
    chosen = check(GOOD | {"python3": "exit 1", "python3.12": ":"}, "demo", PYTHON="python3.12")
    assert chosen == (0, "")


def test_a_python_without_venv(check):
    no_venv = 'case "$2" in *ensurepip*) exit 1;; esac'
    code, said = check(GOOD | {"python3": no_venv}, "demo")
    assert code == 1
    assert said.splitlines()[-1] == "  sudo apt-get install -y python3-venv"


def test_root_gets_the_packages_installed_for_the_tests_only(check, tmp_path):
    cc = tmp_path / "bin" / "cc"
    log = tmp_path / "log"
    makes_cc = f"echo > {cc}; {shutil.which('chmod')} +x {cc}"
    install = f'echo "$@" >> {log}\nif [ "$1" = install ]; then {makes_cc}; fi'
    commands = {k: v for k, v in GOOD.items() if k != "cc"} | {"apt-get": install}
    assert check(commands, "demo", root=True)[0] == 1
    assert check(commands, "test")[0] == 1
    assert not log.exists()
    code, said = check(commands, "test", root=True)
    assert code == 0
    assert "Installing build-essential" in said
    assert log.read_text().split()[-1] == "build-essential"

    # Where the package does not bring the command, it is said, not tried for ever.
    commands["apt-get"] = "exit 0"
    assert check(commands, "test", root=True)[0] == 1


def test_make_asks_first():
    """Both targets check before they do anything."""
    for target in ("demo", "test"):
        ran = subprocess.run(
            ["make", "--no-print-directory", "--dry-run", target],
            cwd=PROJECT,
            env=os.environ | {"MAKEFLAGS": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        first = ran.stdout.splitlines()[0]
        assert re.match(rf"PYTHON=\S+ scripts/check-machine {target}\b", first)
