"""Throw-away virtual environments, and a dashboard to put into them."""

import base64
import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

PROJECT = Path(__file__).parents[3]
#: What can change which modules are found, or how the dispatcher behaves.
_LEFT_OUT = ("GITEA_", "TIMMY_", "PYTHON", "VIRTUAL_ENV", "PIP_REQUIRE")

PYTEST = ("pytest", "pytest-asyncio", "pluggy", "iniconfig", "packaging", "pygments")
PYDANTIC_SETTINGS = (
    "pydantic-settings",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "python-dotenv",
    "typing-extensions",
    "typing-inspection",
)


class Environment:
    """A virtual environment without pip; the one that runs the tests installs into it."""

    def __init__(self, folder):
        venv.create(folder, with_pip=False)
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.site_packages = Path(
            sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        )

    def pip(self, *arguments, **variables):
        _checked(
            [sys.executable, "-m", "pip", "--quiet", "--python", self.python, *arguments],
            env=_variables(PIP_DISABLE_PIP_VERSION_CHECK="1", **variables),
        )

    def install(self, *wheels):
        self.pip("install", "--no-index", *wheels)

    def uninstall(self, *names):
        self.pip("uninstall", "--yes", *names)

    def borrow(self, *names):
        """Have distributions of the tests' own environment without installing them."""
        for name in names:
            found = distribution(name)
            tops = {file.parts[0] for file in found.files if file.parts[0] != ".."}
            for top in tops - {"__pycache__"}:
                (self.site_packages / top).symlink_to(found.locate_file(top))

    def run(self, *arguments, cwd=None, **variables):
        """Run its Python, and return what that prints."""
        return _checked(
            [self.python, *arguments], cwd=cwd or self.folder, env=_variables(**variables)
        )

    def fails(self, *arguments, cwd=None, **variables):
        """Run its Python, which ends with an error, and return that."""
        ran = _run([self.python, *arguments], cwd=cwd or self.folder, env=_variables(**variables))
        assert ran.returncode != 0, ran.stdout
        return ran.stderr


def _variables(**changes):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_LEFT_OUT)}
    return kept | {"PYTHONWARNINGS": "error::ImportWarning"} | changes


def _run(command, **options):
    command = [str(part) for part in command]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, **options
    )


def _checked(command, **options):
    ran = _run(command, **options)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout.strip()


def make_wheel(folder, name, files):
    """Make a wheel of pure Python out of texts, by path."""
    info = f"{name}-1.0.dist-info"
    contents = dict(files)
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    contents[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(f"{path},{_digest(text)}\n" for path, text in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def _digest(text):
    raw = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(raw)}"


def write(folder, files):
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
