"""Whole lives on Gitea, from the submission to the end, for both kinds of it."""

from datetime import UTC, datetime

import pytest
import timmy.dispatcher as dispatching
from timmy.dispatcher import DispatchStatus, TaskType
from timmy.dispatcher.durable import AgentOptions, Phase, Receive, Task

from durable.world import eventually, until


async def test_handed_over_worked_on_and_completed(world):
    async with world.dispatcher() as dispatcher:
        task = world.task()
        dispatch = await dispatcher.submit(task)
        record = await until(dispatch, Phase.HANDED_OVER)
        assert (record.status, record.agent) == (DispatchStatus.ASSIGNED, "kimi_code")
        assert record.due_at > datetime.now(UTC)
        assert world.labels(task) == ["kimi-ready"]
        [comment] = world.comments(task)
        assert f"<!-- timmy-dispatch:{dispatch.id}:1:comment:" in comment
        world.close("kimi", task)
        outcome = await dispatch.wait(timeout=60)
        assert (outcome.status, outcome.success) == (DispatchStatus.COMPLETED, True)
        assert (outcome.agent, outcome.result) == ("kimi_code", None)
        assert len(outcome.attempts) == 1

        async def settled():
            return (await dispatch.story()).effects

        effects = await eventually(settled, lambda all: {one.state for one in all} == {"done"})
        assert [effect.effect for effect in effects[:2]] == ["comment", "label"]
        [first, *_] = world.gitea.comments(world.repo, task.issue_number)
        assert effects[0].remote_id == first["id"]
        assert effects[0].issue_number == task.issue_number
        # About the same issue there can be another one now.
        assert (await dispatcher.submit(task)).new


async def test_about_one_issue_there_is_one_dispatch(world):
    async with world.dispatcher() as dispatcher, world.visitor() as visitor:
        task = world.task()
        first = await visitor.submit(task)
        again = await dispatcher.submit(Task("Said otherwise", issue_number=task.issue_number))
        assert (first.new, again.new, first.id == again.id) == (True, False, True)
        await until(first, Phase.HANDED_OVER)
        assert len(world.comments(task)) == 1


async def test_out_of_time_it_goes_to_the_next_agent_and_then_to_a_person(world):
    hasty = {
        "kimi_code": AgentOptions(gitea_user="kimi", deadline=0.7),
        "claude_code": AgentOptions(gitea_user="claude", deadline=0.7),
    }
    async with world.dispatcher(agents=hasty) as dispatcher:
        dispatch = await dispatcher.submit(world.task(), route=["kimi_code", "claude_code"])
        outcome = await dispatch.wait(timeout=60)
    assert (outcome.status, outcome.phase) == (DispatchStatus.TIMED_OUT, Phase.TIMED_OUT)
    assert [attempt.agent for attempt in outcome.attempts] == ["kimi_code", "claude_code"]
    assert outcome.reassignments == 1
    assert "deadline" in outcome.attempts[0].reason


async def test_called_off_it_is_taken_back(world):
    async with world.dispatcher() as dispatcher:
        task = world.task()
        dispatch = await dispatcher.submit(task)
        await until(dispatch, Phase.HANDED_OVER)
        await dispatch.cancel()
        outcome = await dispatch.wait(timeout=60)
        assert outcome.phase == Phase.CANCELLED
        assert world.labels(task) == []
        assert len(world.comments(task)) == 2  # the hand-over, and that it is called off


async def test_an_effect_that_waits_can_be_seen_and_given_up(world):
    world.gitea.fault("/comments", method="POST", status=429, retry_after=600)
    async with world.dispatcher() as dispatcher:
        dispatch = await dispatcher.submit(world.task())

        async def waiting():
            return [effect for effect in await dispatcher.outbox() if effect.not_before]

        effect, *_ = await eventually(waiting, bool)
        assert (effect.dispatch, effect.effect, effect.state) == (dispatch.id, "comment", "ready")
        assert effect.not_before > datetime.now(UTC)
        assert await dispatcher.abandon(effect.id)
        assert not await dispatcher.abandon(effect.id)
        assert not await dispatcher.hasten(effect.id)


async def test_the_next_process_goes_on(world):
    task = world.task()
    async with world.dispatcher() as dispatcher:
        dispatch = await dispatcher.submit(task)
        await until(dispatch, Phase.HANDED_OVER)
    world.close("kimi", task)
    async with world.dispatcher() as dispatcher:
        assert (await dispatcher.wait(dispatch, timeout=60)).success
    assert len(world.comments(task)) == 1


async def test_an_agent_over_http(world):
    endpoint = f"{world.gitea.url}/agent"
    answer = b'{"status": "completed", "found": 7}'
    world.gitea.fault("/agent", method="POST", status=200, body=answer)
    async with world.dispatcher() as dispatcher:
        dispatch = await dispatcher.submit(Task("Research it", api_endpoint=endpoint))
        outcome = await dispatch.wait(timeout=60)
    assert (outcome.agent, outcome.success) == ("agent_api", True)
    assert outcome.result == {"status": "completed", "found": 7}
    [request] = [request for request in world.gitea.requests() if request.path == "/agent"]
    assert request.header("Idempotency-Key") == f"{dispatch.id}:1"


async def test_a_webhook_is_received(world):
    receive = Receive(address="127.0.0.1:0", secret="of-the-webhook")
    # Without a word from Gitea nobody would look before an hour has passed.
    async with world.dispatcher(receive=receive, poll=3600) as dispatcher:
        url = f"http://{dispatcher.received_at}/webhooks/gitea"
        world.gitea.create_hook(world.repo, url, "issues", secret="of-the-webhook")
        task = world.task()
        dispatch = await dispatcher.submit(task)
        await until(dispatch, Phase.HANDED_OVER)
        world.close("kimi", task)
        assert (await dispatch.wait(timeout=60)).success


async def test_ranking_is_chosen_of_the_dispatcher_too(world, monkeypatch):
    task = world.task("The review page crashes sometimes", agent=None)
    world.settings.inference = "exact"
    dispatcher = world.dispatcher(inference="ranked", min_confidence=1, below_confidence="planning")
    plan = dispatcher.plan(task)
    assert (plan.decided_by, plan.task.task_type) == ("setting", TaskType.PLANNING)
    assert world.dispatcher().plan(task).decided_by == "exact"
    for wrong, says in [
        ({"inference": "guess"}, "unknown inference 'guess'"),
        ({"min_confidence": 2}, "min_confidence is 2"),
        ({"below_confidence": "nobody"}, "unknown below_confidence 'nobody'"),
    ]:
        with pytest.raises(ValueError, match=says):
            world.dispatcher(**wrong)
    with pytest.raises(ValueError, match=r"/nowhere/m\.bin"):
        world.dispatcher(inference="ranked", ranking_model="/nowhere/m.bin").plan(task)

    monkeypatch.setattr(dispatching, "infer_task_type", lambda *_: TaskType.REFACTORING)
    async with dispatcher:
        dispatch = await dispatcher.submit(task)
        [how] = [event.body["evidence"] for event in (await dispatch.story()).events[:1]]
        assert how == {"by": "own rules", "task_type": "refactoring"}


async def test_a_task_whose_type_is_not_sure_waits_for_a_person(world, caplog):
    settings = world.settings
    settings.inference, settings.min_confidence, settings.below_confidence = "ranked", 1, "ask"
    caplog.set_level("INFO", "timmy.dispatcher")
    async with world.dispatcher(settings=settings) as dispatcher:
        task = world.task("Look at it", agent=None)
        plan = dispatcher.plan(task)
        assert (plan.decided_by, "give the task_type" in plan.hold) == ("ask", True)
        dispatch = await dispatcher.submit(task)
        assert (await dispatch.get()).phase == Phase.HELD
        await dispatcher.retype(dispatch, TaskType.REFACTORING)
        record = await until(dispatch, Phase.HANDED_OVER)
        assert record.agent == "claude_code"

        async def logged():
            return caplog.messages

        # What the core has to say stands in the log of the module.
        await eventually(logged, lambda lines: any(str(dispatch.id) in line for line in lines))
