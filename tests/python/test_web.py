"""The application that a dashboard mounts, under a real server."""

import asyncio
import gzip
import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import timmy.dispatcher as d
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from timmy.dispatcher.ranking import Example
from timmy.dispatcher.web import preview_app
from timmy.dispatcher.web._app import MAX_BODY
from timmy.dispatcher.web._preview import changed_routes, explanation

VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(scope="module")
def client():
    app = Starlette(routes=[Mount("/preview", preview_app())])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    up = threading.Event()
    startup = server.startup

    async def start(sockets=None):
        await startup(sockets)
        up.set()

    server.startup = start
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    assert up.wait(30)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/preview/", trust_env=False) as http:
        yield http
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def manifest(client):
    return client.get("manifest.json").json()


def ask(client, accept="application/json", **fields):
    return client.post("explain", data=fields, headers={"Accept": accept})


def test_built_files_have_their_types_and_are_kept_for_ever(client, manifest):
    types = dict.fromkeys(("core_bg.wasm", "ranked_bg.wasm"), "application/wasm")
    for name in ("task-type-preview.js", "ranked-view.js", "server.js"):
        types[name] = "text/javascript; charset=utf-8"
    assert manifest.keys() == types.keys()
    for name, entry in manifest.items():
        answer = client.get(entry["file"])
        assert answer.headers["content-type"] == types[name]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(answer.content).hexdigest() == entry["sha256"]
        assert len(answer.content) == entry["bytes"]
        assert client.head(entry["file"]).status_code == 200


def test_built_files_come_compressed(client, manifest):
    name = manifest["core_bg.wasm"]["file"]
    with client.stream("GET", name, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert len(gzip.decompress(raw)) == manifest["core_bg.wasm"]["bytes"]


def test_what_a_page_loads_first_is_asked_for_each_time(client, manifest):
    for name in ("preview.js", "manifest.json", "model.bin"):
        answer = client.get(name)
        assert answer.headers["cache-control"] == "no-cache"
        again = client.get(name, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
    assert f'from "./{manifest["task-type-preview.js"]["file"]}"' in client.get("preview.js").text


@pytest.mark.parametrize("path", ["preview.js", "manifest.json", "model.bin", "none", "explain"])
def test_every_answer_is_fenced(client, path):
    answer = ask(client, title="plan") if path == "explain" else client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["", "none.js", "..%2f_app.py", "%2e%2e/_app.py", "__init__.py", "static/manifest.json"]
)
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404


def test_a_changed_route_is_told_to_the_page(client, monkeypatch):
    assert changed_routes() == {}
    before = client.get("preview.js")
    monkeypatch.setitem(d._TASK_ROUTING, d.TaskType.TRIAGE, d.AgentType.KIMI_CODE)
    spec = d.AgentSpec(d.AgentType.AGENT_API, "</script>", frozenset(), "\u2028", 1, "gitea")
    monkeypatch.setitem(d.AGENT_REGISTRY, d.AgentType.AGENT_API, spec)
    routes = changed_routes()
    assert set(routes) == {"triage", "research", "analysis", "specialized"}
    assert routes["triage"]["displayName"] == "Kimi Code"
    after = client.get("preview.js", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert json.dumps(routes) in after.text
    answer = ask(client, title="triage").json()
    assert (answer["agent"], answer["label"]) == ("kimi_code", "kimi-ready")


def test_an_agent_without_an_entry_is_named(client, monkeypatch):
    monkeypatch.delitem(d.AGENT_REGISTRY, d.AgentType.TIMMY)
    assert ask(client, title="plan").json()["displayName"] == "timmy"


def test_the_server_explains_as_the_module_does(client):
    answer = ask(client, title="🦀 Clean", description="up it")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "type": "refactoring",
        "agent": "claude_code",
        "displayName": "Claude Code",
        "interface": "gitea",
        "label": "claude-ready",
        "matches": [
            {
                "keyword": "clean up",
                "type": "refactoring",
                "spans": [
                    {"field": "title", "start": 3, "end": 8},
                    {"field": "description", "start": 0, "end": 2},
                ],
            }
        ],
    }


def test_every_golden_vector_on_the_server():
    rows = (VECTORS / "explanation.jsonl").read_text(encoding="ascii").splitlines()
    assert len(rows) > 2000
    for row in rows:
        title, description, task_type, agent, matches = json.loads(row)
        found = explanation(title, description)
        assert (found["type"], found["agent"]) == (task_type, agent)
        deciding = [match for match in matches if match[1] == task_type]
        assert [
            [
                match["keyword"],
                match["type"],
                [[span["field"], span["start"], span["end"]] for span in match["spans"]],
            ]
            for match in found["matches"]
        ] == [
            [keyword, of, [[span[0], *span[3:]] for span in spans]]
            for keyword, of, spans in deciding
        ]


def test_html_for_who_wants_no_json(client):
    answer = ask(client, accept="*/*", title='plan <img src=x onerror="hit()">')
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == (
        "<p><b>Planning</b> for <b>Timmy</b>, because of <mark>plan</mark></p>\n"
    )
    assert "no keyword" in ask(client, accept="text/html", title="<script>").text
    assert "<script>" not in ask(client, accept="text/html", title="<script>").text


def test_a_display_name_is_escaped(client, monkeypatch):
    spec = d.AgentSpec(d.AgentType.TIMMY, "<b onclick=hit()>", frozenset(), None, 1, "local")
    monkeypatch.setitem(d.AGENT_REGISTRY, d.AgentType.TIMMY, spec)
    assert "&lt;b onclick" in ask(client, accept="text/html", title="plan").text


def test_input_is_bounded(client):
    def chunks():
        for _ in range(MAX_BODY // 1024 + 1):
            yield b"x" * 1024

    assert client.post("explain", content=chunks()).status_code == 413
    assert ask(client, title="x" * MAX_BODY).status_code == 413
    many = ask(client, title="plan " * 20_000)
    assert len(many.json()["matches"]) == 200
    assert client.post("explain", content=b"&".join([b"a=1"] * 200)).status_code == 400


@pytest.mark.parametrize("body", [b"", b"title", b"title=%ff%fe", b"title=1&title=2", b"\x00=%zz"])
def test_any_form_has_an_answer(client, body):
    answer = client.post("explain", content=body, headers={"Accept": "application/json"})
    assert answer.json()["type"] == "routine_coding"


def test_what_is_no_form_is_refused(client):
    assert client.post("explain", content="ö".encode()).status_code == 400
    assert client.get("explain").status_code == 404


def test_a_missing_extra_is_told():
    program = (
        "import sys; sys.modules['starlette'] = None\n"
        "try:\n    import timmy.dispatcher.web\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "pip install 'timmy-dispatcher[web]'" in ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    words = {"poem": d.TaskType.CREATIVE, "crash": d.TaskType.TRIAGE}
    tasks = [Example(f"{word} {n}", "", of) for word, of in words.items() for n in "abcdef"]
    path = tmp_path_factory.mktemp("model") / "ours.bin"
    d.RankedClassifier.train(tasks).save(path)
    return path


@pytest.fixture
def ours(trained, monkeypatch):
    """A model of one's own, which the settings name."""
    monkeypatch.setenv("TIMMY_DISPATCHER_MODEL", str(trained))
    return trained


def test_the_page_gets_the_model_that_the_program_ranks_by(client, request):
    shipped = client.get("model.bin")
    assert shipped.headers["content-type"] == "application/octet-stream"
    assert shipped.headers["content-encoding"] == "gzip"
    assert shipped.headers["vary"] == "Accept-Encoding"
    plain = client.get("model.bin", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert shipped.content == plain.content
    assert shipped.headers["etag"] == plain.headers["etag"]
    path = request.getfixturevalue("ours")
    ours = client.get("model.bin", headers={"If-None-Match": shipped.headers["etag"]})
    assert (ours.status_code, ours.content) == (200, path.read_bytes())


@pytest.mark.parametrize("which", ["shipped", "ours"])
def test_the_server_ranks_by_the_same_model(client, request, which):
    path = request.getfixturevalue("ours") if which == "ours" else None
    model = d.RankedClassifier.load(path) if path else d.RankedClassifier.built_in()
    fields = {"title": "🦀 a poem", "description": "🦀🦀 roadmap, a crash"}
    answer = ask(client, **fields, inference="ranked").json()
    found = model.rank(**fields)
    ranking = answer.pop("ranking")
    assert [(one["type"], one["agent"], one["probability"]) for one in ranking["types"]] == [
        (one.task_type, one.agent, round(one.probability * 10_000)) for one in found.types
    ]
    assert [(one["text"], one["weight"]) for one in ranking["evidence"]] == [
        (one.text, one.weight) for one in found.evidence[:12]
    ]
    for one in ranking["evidence"]:
        for span in one["spans"]:
            units = fields[span["field"]].encode("utf-16-le")[2 * span["start"] : 2 * span["end"]]
            assert units.decode("utf-16-le") == one["text"]
    assert len(ranking["evidence"]) >= 2
    assert answer == ask(client, **fields).json()


def test_ranking_knows_changed_routes(client, monkeypatch):
    monkeypatch.setitem(d._TASK_ROUTING, d.TaskType.PLANNING, d.AgentType.KIMI_CODE)
    first = ask(client, title="Roadmap", inference="ranked").json()["ranking"]["types"][0]
    assert (first["type"], first["agent"], first["label"]) == (
        "planning",
        "kimi_code",
        "kimi-ready",
    )
    assert first["displayName"] == "Kimi Code"


def test_ranking_as_html(client):
    answer = ask(client, "text/html", title="Roadmap <b>for</b> the quarter", inference="ranked")
    assert answer.text.startswith("<p><b>Planning</b> 9")
    assert "% for <b>Timmy</b>, because of <mark>roadmap</mark>" in answer.text
    assert "no word speaks for it" in ask(client, "text/html", inference="ranked").text


def test_an_unknown_inference_is_refused(client):
    answer = ask(client, title="plan", inference="<guess>")
    assert answer.status_code == 400
    assert answer.text == "Bad Request: unknown inference '<guess>'; known are exact, ranked"
    assert "ranking" not in ask(client, title="plan", inference="exact").json()


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_model_that_cannot_be_read_leaves_the_exact_rules(
    client, tmp_path, monkeypatch, caplog, content
):
    path = tmp_path / "broken.bin"
    if content:
        path.write_bytes(content)
    monkeypatch.setenv("TIMMY_DISPATCHER_MODEL", str(path))
    assert client.get("model.bin").status_code == 404
    answer = ask(client, title="plan", inference="ranked").json()
    assert answer["type"] == "planning"
    assert "ranking" not in answer
    assert caplog.text.count("The preview cannot rank: ") == 2
    assert "broken.bin" in caplog.text


def test_the_page_is_told_the_settings(client, monkeypatch):
    def told():
        options = client.get("preview.js").text.partition("ranking, ...")[2].rpartition(" }")[0]
        return json.loads(options)

    assert told() == {
        "routes": {},
        "inference": "exact",
        "minConfidence": 0,
        "belowConfidence": "",
    }
    monkeypatch.setenv("TIMMY_DISPATCHER_INFERENCE", "ranked")
    monkeypatch.setenv("TIMMY_DISPATCHER_MIN_CONFIDENCE", " much</script> ")
    monkeypatch.setenv("TIMMY_DISPATCHER_BELOW", "ask")
    assert told() == {
        "routes": {},
        "inference": "ranked",
        "minConfidence": "much</script>",
        "belowConfidence": "ask",
    }
    monkeypatch.setattr(d, "infer_task_type", lambda title, description="": d.TaskType.TRIAGE)
    assert told() == {"routes": {}}
