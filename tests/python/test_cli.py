"""The command line as a process."""

import json
import subprocess
import sys


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "timmy.dispatcher.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_infer_as_json():
    ran = run("infer", "Clean", "-d", "up the mess", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["task_type"] == "refactoring"


def test_the_demo_checks_itself():
    ran = run("demo", "--json")
    assert ran.returncode == 0, ran.stderr
    assert "kimi-ready" in ran.stdout


def test_the_sandbox_says_its_address_first():
    command = [sys.executable, "-m", "timmy.dispatcher.cli", "sandbox", "--token", "T"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.terminate()
        assert process.wait(30) == 0
