"""Every block of the README is run, or held against what it speaks of."""

import ast
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from timmy import dispatcher
from timmy.dispatcher import Classifier
from timmy.dispatcher.cli import app, model, worker
from timmy.dispatcher.sandbox import gitea_sandbox  # noqa: F401  (a fixture)

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    (language, "\n".join(line.removeprefix(indent) for line in text.splitlines()))
    for indent, language, text in re.findall(
        r"^( *)```(\S+)\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL
    )
]


def blocks(language):
    return [text for of, text in BLOCKS if of == language]


FILES = {
    match[1]: block
    for block in blocks("python")
    if (match := re.match(r"# (\w+\.py)\n", block)) is not None
}
EXTEND_PATH = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)'


def test_every_block_is_of_a_kind_that_is_tested():
    assert README.count("```") == 2 * len(BLOCKS)
    # The Rust ones are doc tests of the crate.
    assert {language for language, _ in BLOCKS} == {
        *("console", "python", "toml", "html", "rust", "rust,no_run")
    }


@pytest.fixture
def surroundings(gitea_sandbox, monkeypatch, tmp_path):  # noqa: F811
    """A Gitea with an issue 7, which is closed already; the signal table."""
    repo = gitea_sandbox.create_repo("swarm")
    for _ in range(7):
        gitea_sandbox.create_issue(repo, "Design the LLM router")
    gitea_sandbox.close_issue(repo, 7)
    monkeypatch.setenv("GITEA_URL", gitea_sandbox.url)
    monkeypatch.setenv("GITEA_TOKEN", gitea_sandbox.token)
    monkeypatch.setenv("GITEA_REPO", repo)
    monkeypatch.setattr(dispatcher, "AGENT_REGISTRY", dict(dispatcher.AGENT_REGISTRY))
    monkeypatch.setattr(dispatcher._http, "_chosen", None)
    [table] = blocks("toml")
    (tmp_path / "signals.toml").write_text(table)
    monkeypatch.chdir(tmp_path)
    return gitea_sandbox


def run(block):
    code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    namespace = {}
    return namespace, eval(code, namespace)


@pytest.mark.parametrize(
    "block",
    [b for b in blocks("python") if b not in FILES.values() and b.strip() != EXTEND_PATH],
    ids=lambda block: next(line for line in block.splitlines() if line)[:60],
)
async def test_the_python_runs(surroundings, block):
    namespace, awaitable = run(block)
    if inspect.isawaitable(awaitable):
        await awaitable
    if "dispatch_task" in namespace:
        assert namespace["result"].success
        assert namespace["status"] == "completed"


def test_the_fixture_runs(tmp_path):
    assert set(FILES) == {"conftest.py", "test_routing.py"}
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in ran.stdout, ran.stdout


def test_the_table_is_one():
    [table] = blocks("toml")
    assert Classifier.from_toml(table).infer("A kick-off") == "planning"


def commands():
    for block in blocks("console"):
        for line in block.splitlines():
            assert line.startswith("$ "), line
            words = shlex.split(line[2:], comments=True)
            yield [word for word in words if not re.match(r"[A-Z_]+=", word)]


def test_the_commands_exist():
    makefile = (PROJECT / "Makefile").read_text() + (PROJECT / "web/rules.mk").read_text()
    cli = [("", command) for command in app.app.registered_commands]
    groups = {group.name: group.typer_instance for group in app.app.registered_groups}
    for group, commands_of in groups.items():
        cli += [(f"{group} ", command) for command in commands_of.registered_commands]
    known = {
        of + (command.name or command.callback.__name__): inspect.getsource(command.callback)
        for of, command in cli
    }
    shared = inspect.getsource(app).split("@app.command()")[0]
    shared += "".join(map(inspect.getsource, (model, worker)))
    shown = set()
    for program, *arguments in commands():
        if program == "make":
            assert re.search(rf"^{arguments[0]}:.*## ", makefile, re.MULTILINE)
        elif program == "timmy-dispatch":
            name, *rest = arguments
            if name in groups:
                name = f"{name} {rest.pop(0)}"
            shown.add(name)
            source = known[name] + shared
            for option in (word for word in rest if word.startswith("-")):
                assert f'"{option}"' in source, f"{name} {option}"
        elif program == "pip":
            assert arguments[0] == "install"
            assert arguments[1] in {".", ".[cli]", ".[web]"}
        elif program == "cargo":
            assert (PROJECT / "examples" / f"{arguments[2]}.rs").is_file()
        else:
            # The check of the layouts is run in tests/python/packaging.
            assert [program, arguments[0]] == ["python", "-c"]
            layouts = (PROJECT / "tests/python/packaging/test_layouts.py").read_text()
            assert arguments[1] in layouts
    assert shown == set(known)
    layouts = (PROJECT / "tests/python/packaging/test_layouts.py").read_text()
    assert EXTEND_PATH in layouts


def test_the_element_is_the_examples():
    [page] = blocks("html")
    [script, element] = (" ".join(part.split()) for part in page.split("\n\n"))
    example = PROJECT / "web/example"
    assert script in (example / "index.html").read_text()
    attributes = re.findall(r'[\w-]+="\w+"', element)
    assert attributes == re.findall(
        r'[\w-]+="\w+"', (example / "new_task.html").read_text().split("task-type-preview")[1]
    )


def test_the_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (PROJECT / target).is_file()


def test_each_variable_is_read_somewhere():
    sources = "".join(
        path.read_text()
        for folder in ("python", "src")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in {".py", ".rs"}
    )
    named = set(re.findall(r"^\| (`[A-Z].*?) \|", README, re.MULTILINE))
    variables = {name for cell in named for name in re.findall(r"`([A-Z_]+)`", cell)}
    assert {"GITEA_TOKEN", "TIMMY_DISPATCHER_HTTP"} <= variables
    # reqwest reads the proxies, and the certificates' verifier its folder.
    elsewhere = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_DIR"}
    for variable in variables - elsewhere:
        assert variable in sources, variable
