"""What is in the wheel and in the source distribution."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from environments import PROJECT

MODULES = {
    f"timmy/dispatcher/{path.relative_to(PROJECT / 'python/timmy/dispatcher')}"
    for path in (PROJECT / "python/timmy/dispatcher").rglob("*")
    if path.suffix in {".py", ".pyi", ".typed"} or path.parent.name in {"static", "routing"}
}
INFO = "timmy_dispatcher-0.1.0.dist-info"


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_one_wheel_for_every_python_from_3_11_on(wheel, contents):
    assert wheel.name.startswith("timmy_dispatcher-0.1.0-cp311-abi3-")
    assert f"Tag: {wheel.stem.split('-', 2)[2]}" in contents[f"{INFO}/WHEEL"].decode()


def test_the_wheel_holds_the_package_and_nothing_else(contents):
    modules = {name for name in contents if not name.startswith(INFO)}
    assert modules == MODULES | {"timmy/dispatcher/_core.abi3.so"}
    # `timmy` is the dashboard's package.
    assert "timmy/__init__.py" not in contents
    assert {"timmy/dispatcher/py.typed", "timmy/dispatcher/_core.pyi"} <= modules
    assert contents[f"{INFO}/licenses/LICENSE"] == (PROJECT / "LICENSE").read_bytes()
    about = {name.removeprefix(f"{INFO}/") for name in contents} - modules
    assert {name for name in about if not name.startswith("sboms/")} == {
        *("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }


def test_no_trace_of_the_machine_that_built_it(contents):
    """But for the compiler's own source paths, which debug information holds."""
    for name, content in contents.items():
        if not name.endswith((".so", ".cyclonedx.json")):
            assert str(PROJECT).encode() not in content, name


def test_nothing_is_required(contents):
    metadata = email.message_from_bytes(contents[f"{INFO}/METADATA"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    required = metadata.get_all("Requires-Dist", [])
    assert required
    extras = ("extra == 'cli'", "extra == 'web'")
    assert [each for each in required if not each.endswith(extras)] == []
    # No pytest plugin: it would import `timmy` before a host's conftest.py has set its path.
    assert contents[f"{INFO}/entry_points.txt"].decode().split() == [
        "[console_scripts]",
        "timmy-dispatch=timmy.dispatcher.cli:main",
    ]


def test_the_sources_build_and_dispatch(environment, gitea, tmp_path):
    """`pip install .` in what the source distribution of a clean copy holds."""
    copy = tmp_path / "copy"
    for path in _tracked():
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, target)
    scripts = Path(sys.executable).parent
    subprocess.run([scripts / "maturin", "sdist", "--out", tmp_path], cwd=copy, check=True)
    [sdist] = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    sources = tmp_path / "timmy_dispatcher-0.1.0"
    there = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
    assert there >= {f"python/{name}" for name in MODULES}
    assert there >= {"Cargo.lock", "Cargo.toml", "pyproject.toml", "README.md", "LICENSE"}
    assert not [name for name in there if name.startswith(("tests", "target", ".venv"))]

    # As people do it, but for the profile and the folder: what is compiled already is used.
    environment.borrow("maturin")
    environment.pip(
        *("install", "--no-index", "--no-build-isolation", sources),
        "--config-settings=build-args=--profile dev",
        CARGO_TARGET_DIR=str(PROJECT / "target"),
        PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}",
    )
    dispatch = """
import asyncio, importlib.util
from timmy.dispatcher import dispatch_task
assert importlib.util.find_spec("httpx") is None
print(asyncio.run(dispatch_task("Design it", issue_number=1)).status)
"""
    assert environment.run("-c", dispatch, **gitea.variables) == "assigned"


def _tracked():
    """The project's files, from git where it is a clone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in listed.stdout.split("\0") if path and (PROJECT / path).is_file()]
