"""14. Lone surrogates become U+FFFD on the wire, and are echoed unchanged in results."""

import timmy.dispatcher as d

LONE = "a\ud800b\udfffc"
SENT = "a\ufffdb\ufffdc"


async def test_in_a_comment(gitea):
    number = gitea.open_issue()
    result = await d.dispatch_task(f"Fix {LONE}", LONE, [LONE, "\ud83d\ude80"], issue_number=number)
    assert result.success, result.error
    body = gitea.seen()[-1].json()["body"]
    assert f"**Description:**\n{SENT}\n" in body
    assert f"- {SENT}\n" in body
    # Two halves that a caller glued together are two lone ones to Python.
    assert "- \ufffd\ufffd\n" in body
    assert SENT in gitea.comments(number)[0]


async def test_in_a_payload(gitea, agent_url):
    result = await d.dispatch_task(LONE, LONE, [LONE], "research", api_endpoint=agent_url)
    assert result.success, result.error
    sent = gitea.seen()[0].json()
    assert (sent["title"], sent["description"], sent["acceptance_criteria"]) == (SENT, SENT, [SENT])


async def test_in_a_label(gitea):
    import dataclasses

    spec = d.AGENT_REGISTRY[d.AgentType.KIMI_CODE]
    d.AGENT_REGISTRY[d.AgentType.KIMI_CODE] = dataclasses.replace(spec, gitea_label=LONE)
    number = gitea.open_issue()
    result = await d.dispatch_task("Fix it", issue_number=number)
    assert (result.success, result.label_applied) == (True, LONE)
    assert gitea.labels(SENT) == gitea.issue_labels(number)


async def test_in_a_local_result(gitea):
    result = await d.dispatch_task(f"triage {LONE}", LONE)
    assert result.metadata["description"] == LONE


async def test_in_an_agents_answer(gitea, agent_url):
    gitea.sandbox.fault("/agent", body='{"said": "\\ud800", "n": NaN, "bom": "\\ufeff"}')
    result = await d.dispatch_task("Research it", api_endpoint=agent_url)
    assert result.metadata["response"]["said"] == "\ud800"
