"""1. An explicit task type is what the comment, the API payload and the result say."""

import pytest
import timmy.dispatcher as d


@pytest.mark.live
@pytest.mark.parametrize("given", [d.TaskType.CODE_REVIEW, "code_review"])
async def test_in_the_comment_and_the_result(gitea, given):
    number = gitea.open_issue()
    result = await d.dispatch_task("Quick fix", task_type=given, issue_number=number)
    assert result.task_type is d.TaskType.CODE_REVIEW
    assert result.agent is d.AgentType.CLAUDE_CODE
    assert "**Task type:** `code_review`" in gitea.comments(number)[0]


async def test_in_the_payload(gitea, way, agent_url):
    result = await d.dispatch_task(
        "Quick fix", task_type=d.TaskType.RESEARCH, api_endpoint=agent_url
    )
    assert result.task_type is d.TaskType.RESEARCH
    assert gitea.seen()[0].json()["task_type"] == "research"


async def test_in_a_local_result(gitea):
    assert (await d.dispatch_task("Quick fix", task_type="triage")).task_type is d.TaskType.TRIAGE


async def test_a_step_called_by_itself_infers_as_before(gitea):
    number = gitea.open_issue()
    result = await d._dispatch_via_gitea(d.AgentType.KIMI_CODE, number, "Design it", "", [])
    assert result.task_type is d.TaskType.ARCHITECTURE
    assert "`architecture`" in gitea.comments(number)[0]
