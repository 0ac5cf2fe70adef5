"""6. Between attempts after a transient failure there is a wait; Retry-After is kept up to 30 s."""

from datetime import UTC, datetime, timedelta

import pytest
import timmy.dispatcher as d


async def escalate(retries=1, **options):
    result = await d.dispatch_task("Design it", issue_number=1, max_retries=retries, **options)
    assert (result.status, result.retry_count) == (d.DispatchStatus.ESCALATED, retries)
    return result


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_transient_statuses_are_waited_for(gitea, way, slept, status):
    gitea.sandbox.fault(status=status)
    await escalate()
    (wait,) = slept
    assert 0.25 <= wait <= 0.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422, 423])
async def test_the_others_are_not(gitea, way, slept, status):
    gitea.sandbox.fault(status=status)
    await escalate()
    assert slept == []


@pytest.mark.parametrize("fault", [{"drop": True}, {"reset": True}])
async def test_broken_connections_are_waited_for(gitea, way, slept, fault):
    gitea.sandbox.fault(**fault)
    await escalate()
    assert len(slept) == 1


async def test_no_server_is_waited_for(gitea, way, slept, agent_url):
    gitea.sandbox.stop()
    await escalate()
    await escalate(agent=d.AgentType.AGENT_API, api_endpoint=agent_url)
    assert len(slept) == 2


async def test_the_waits_double_up_to_a_limit(gitea, slept):
    gitea.sandbox.fault(status=503)
    await escalate(8)
    bases = [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert len(slept) == len(bases)
    assert all(base <= wait <= 2 * base for base, wait in zip(bases, slept, strict=True))


def in_seconds(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (2, 2, 2),
        ("7", 7, 7),
        (3600, 30, 30),
        (in_seconds(900), 30, 30),
        (in_seconds(-60), 0.25, 0.5),
        (0, 0.25, 0.5),
        (-5, 0.25, 0.5),
        ("soon", 0.25, 0.5),
        ("9" * 30, 0.25, 0.5),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(gitea, way, slept, agent_url, status, asked, least, most):
    gitea.sandbox.fault(status=status, retry_after=asked)
    await escalate()
    await escalate(agent=d.AgentType.AGENT_API, api_endpoint=agent_url)
    assert len(slept) == 2
    assert all(least <= wait <= most for wait in slept), slept


async def test_a_date_is_a_time_from_now(gitea, slept):
    gitea.sandbox.fault(status=503, retry_after=in_seconds(20))
    await escalate()
    assert 15 <= slept[0] <= 20


async def test_the_longest_of_several_is_kept(gitea, slept):
    gitea.sandbox.fault("/comments", status=429, retry_after=9)
    gitea.sandbox.fault(status=503, retry_after=4)
    await escalate()
    assert slept == [9]


async def test_the_number_of_attempts_stays(gitea, slept):
    gitea.sandbox.fault(status=503, retry_after=1)
    await escalate(3)
    assert len(slept) == 3
    # Two requests an attempt, and the escalation.
    assert len(gitea.seen()) == 4 * 2 + 1


async def test_it_is_really_waited(gitea):
    import time

    number = gitea.open_issue()
    gitea.sandbox.fault(status=503, retry_after=1, times=2)
    begun = time.monotonic()
    assert (await d.dispatch_task("Design it", issue_number=number)).retry_count == 1
    assert time.monotonic() - begun >= 1
