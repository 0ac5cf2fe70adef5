"""8. Waiting takes no longer than asked, gives up on refusals, and believes no empty answer."""

import asyncio
import time

import pytest
import timmy.dispatcher as d

COMPLETED, FAILED, TIMED_OUT = (
    d.DispatchStatus.COMPLETED,
    d.DispatchStatus.FAILED,
    d.DispatchStatus.TIMED_OUT,
)


@pytest.mark.live
async def test_3_seconds_by_2_are_3(gitea):
    number = gitea.open_issue()
    begun = time.monotonic()
    assert await d.wait_for_completion(number, max_wait=3, poll_interval=2) is TIMED_OUT
    assert time.monotonic() - begun >= 3


@pytest.mark.parametrize(
    ("interval", "limit", "sleeps"),
    [
        (2, 3, [2, 1]),
        (1, 3, [1, 1, 1]),
        (60, 7200, [60] * 120),
        (0.5, 1.25, [0.5, 0.5, 0.25]),
        (5, 2.5, [2.5]),
        (1, 0, []),
        (1, -1, []),
    ],
)
async def test_the_last_sleep_is_shortened_and_nothing_asked_after_it(
    gitea, slept, interval, limit, sleeps
):
    assert await d.wait_for_completion(gitea.open_issue(), interval, limit) is TIMED_OUT
    # Real time counts too, so what is left may be a little less.
    assert len(slept) == len(sleeps)
    assert all(real <= asked for real, asked in zip(slept, sleeps, strict=True))
    assert len(gitea.seen()) == len(sleeps)


async def test_the_time_that_answers_take_counts(gitea):
    number = gitea.open_issue()
    gitea.sandbox.fault(delay=0.4)
    assert await d.wait_for_completion(number, 0.01, 0.3) is TIMED_OUT
    assert len(gitea.seen()) == 1


@pytest.mark.live
async def test_an_issue_closed_meanwhile(gitea, monkeypatch):
    number = gitea.open_issue()

    async def close_instead(_seconds):
        gitea.close_issue(number)

    monkeypatch.setattr(asyncio, "sleep", close_instead)
    assert await d.wait_for_completion(number, 1, 9) is COMPLETED


@pytest.mark.live
async def test_an_issue_that_does_not_exist_ends_it_early(gitea, slept, log):
    assert await d.wait_for_completion(99999) is FAILED
    assert len(slept) == 2
    assert (
        "Stopped waiting for issue #99999: 404 not found: issue #99999, three times in a row"
        in log()
    )


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_three_equal_refusals_end_it(gitea, way, slept, log, status):
    gitea.sandbox.fault(status=status)
    assert await d.wait_for_completion(7) is FAILED
    assert len(gitea.seen()) == 3
    assert f"Stopped waiting for issue #7: {status} " in log()


@pytest.mark.parametrize("between", [401, 500, 301, 200])
async def test_three_in_a_row_means_in_a_row(gitea, way, slept, between):
    number = gitea.open_issue()
    for status in (404, 404, between, 404, 404):
        gitea.sandbox.fault(status=status, times=1, body='{"state": "open"}')
    gitea.sandbox.close_issue(gitea.repo, number)
    # Five that are answered so, one after the other, and then the truth.
    assert await d.wait_for_completion(number) is COMPLETED
    assert len(gitea.seen()) == 6


@pytest.mark.parametrize("status", [301, 400, 409, 429, 500, 502, 503])
async def test_other_statuses_never_end_it(gitea, way, slept, status):
    gitea.sandbox.fault(status=status)
    assert await d.wait_for_completion(7, 1, 6) is TIMED_OUT
    assert len(gitea.seen()) == 6


async def test_a_zeroed_issue_is_no_answer(gitea, way, slept):
    number = gitea.open_issue()
    gitea.sandbox.close_issue(gitea.repo, number)
    gitea.sandbox.fault(zeroed_issue=True, times=2)
    assert await d.wait_for_completion(number) is COMPLETED
    assert len(gitea.seen()) == 3


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"state": "closed"}', COMPLETED),
        ('{"state": "closed", "number": 7}', COMPLETED),
        ('{"state": "closed", "number": 0}', TIMED_OUT),
        ('{"state": "", "number": 7}', TIMED_OUT),
        ('{"state": null}', TIMED_OUT),
        ('{"number": 7}', TIMED_OUT),
        ('{"state": "merged"}', TIMED_OUT),
        ("null", TIMED_OUT),
        ("[]", TIMED_OUT),
        ("<html>", TIMED_OUT),
        ("", TIMED_OUT),
    ],
)
async def test_what_is_taken_for_an_answer(gitea, way, slept, answer, status):
    gitea.sandbox.fault(status=200, body=answer)
    assert await d.wait_for_completion(7, 1, 2) is status


async def test_a_broken_connection_is_logged_and_asked_again(gitea, way, slept, log):
    number = gitea.open_issue()
    gitea.sandbox.close_issue(gitea.repo, number)
    gitea.sandbox.fault(drop=True, times=4)
    assert await d.wait_for_completion(number) is COMPLETED
    assert "Poll error for issue #1: " in log()


async def test_a_setting_that_cannot_work_ends_it(gitea, slept, log, monkeypatch):
    monkeypatch.setenv("GITEA_REPO", "swarm")
    assert await d.wait_for_completion(7) is FAILED
    assert 'GITEA_REPO is "swarm"; it must be owner/name' in log()
