"""Terminals, pipes, and titles that mean harm."""

import json
import os
import re
import subprocess

import pytest
from command_line import COMMAND, environment

GREEN = "\x1b[1;32m"
YELLOW = "\x1b[33m"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "[red]design[/] \x1b[2J\x1b]0;owned\x07 \r\n\u202eevil :smile: \x9b31m"


def test_the_evidence_is_in_colour_on_a_terminal(command):
    code, shown = command.on_terminal("infer", "Clean", "-d", "up, then review")
    assert code == 0
    assert f"{GREEN}Clean\x1b[0m" in shown
    assert f"{GREEN}up\x1b[0m, then {YELLOW}review\x1b[0m" in shown


def test_no_colour_in_a_pipe_unless_asked(command):
    assert "\x1b" not in command("infer", "Design it").stdout
    assert f"{GREEN}Design\x1b[0m it" in command("infer", "Design it", FORCE_COLOR="1").stdout


def test_no_color(command):
    _, shown = command.on_terminal("infer", "Design it", NO_COLOR="1")
    assert "32m" not in shown
    assert "Design" in shown


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}])
def test_nothing_is_cut_or_folded_in_a_pipe(command, variables):
    title = "design " + "a very long title " * 200 + "end"
    ran = command("infer", title, COLUMNS="20", **variables)
    lines = COLOUR.sub("", ran.stdout).splitlines()
    assert title in lines
    narrow = command("agents", COLUMNS="20", **variables).stdout
    assert COLOUR.sub("", narrow) == command("agents", COLUMNS="300").stdout
    assert "architecture, refactoring, complex_reasoning, code_review" in narrow


def test_a_long_error_is_not_folded(command, gitea):
    gitea.fault(status=500, message="m" * 150)
    arguments = ("dispatch", "Design it", "--issue", "1", "--retries", "0")
    ran = command(*arguments, COLUMNS="20", **gitea.variables)
    [error] = [line for line in ran.stdout.splitlines() if line.startswith("error")]
    assert "label: 500" in error
    assert "comment: 500" in error


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_tables_fit_the_terminal(command, columns):
    code, shown = command.on_terminal("agents", columns=columns)
    assert code == 0
    lines = COLOUR.sub("", shown).splitlines()
    assert max(map(len, lines)) <= columns
    if columns >= 40:  # no word is broken
        words = set(re.split(r"[\s,]+", " ".join(lines)))
        assert {"parallel_implementation", "orchestration", "claude-ready"} <= words


@pytest.mark.parametrize("arguments", [["infer", HOSTILE], ["infer", "design", "-d", HOSTILE]])
def test_a_hostile_text_is_shown_harmlessly(command, arguments):
    _, shown = command.on_terminal(*arguments)
    rest = COLOUR.sub("", shown.replace("\r\n", "\n"))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", rest)
    assert "[/] \\x1b[2J\\x1b]0;owned\\x07 \\r" in rest
    assert "[red]" in rest
    assert ":smile:" in rest


def test_a_hostile_answer_is_shown_harmlessly(command, gitea):
    gitea.fault(status=500, body=b'{"message": "\\u001b[2J[red]\\r"}')
    arguments = ("-v", "dispatch", HOSTILE, "--issue", "1", "--retries", "0")
    ran = command(*arguments, **gitea.variables)
    assert ran.returncode == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.stdout + ran.stderr)


def test_bytes_that_are_no_utf_8(command):
    ran = subprocess.run(
        [*COMMAND, "infer", b"design \xff\xfe", "--json"],
        env=environment(),
        cwd=command.folder,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ran.stdout)["task_type"] == "architecture"


def test_an_ascii_terminal(command):
    ran = command("infer", "Design a café", PYTHONIOENCODING="ascii")
    assert ran.returncode == 0
    assert "Design a caf\\xe9" in ran.stdout


@pytest.mark.parametrize("arguments", [["agents"], ["agents", "--json"], ["demo"], ["--help"]])
def test_a_reader_that_has_gone_is_no_noise(command, arguments):
    read, write = os.pipe()
    os.close(read)
    try:
        ran = subprocess.run(
            [*COMMAND, *arguments],
            stdout=write,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=command.folder,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert ran.returncode == 1
    assert b"Traceback" not in ran.stderr
    assert b"Exception" not in ran.stderr
    assert b"BrokenPipe" not in ran.stderr


def test_the_help_names_every_command_in_a_whole_sentence(command):
    commands = command("--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert len(commands) > 20
    for shown in commands:
        name, _, said = shown.strip().partition(" ")
        assert said.strip().endswith("."), shown
        assert "..." not in said, shown
        ran = command(name, "--help")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith(f"Usage: timmy-dispatch {name} ")
