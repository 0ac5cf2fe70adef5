"""3. A label that exists is found, the lowest id is used, and many at once create one label."""

import asyncio
import threading

import pytest
import timmy.dispatcher as d

LABEL = "kimi-ready"


async def hand_over(number):
    return await d.dispatch_task("Fix it", issue_number=number)


@pytest.mark.live
async def test_behind_110_others(gitea):
    for name in range(110):
        gitea.make_label(f"a-{name:03}")
    label = gitea.make_label(LABEL)
    number = gitea.open_issue()
    assert (await hand_over(number)).label_applied == LABEL
    assert gitea.issue_labels(number) == gitea.labels(LABEL) == [label]


async def test_the_pages_that_are_asked_for(gitea, way):
    label = gitea.sandbox.page_2_label(gitea.repo, LABEL)
    number = gitea.open_issue()
    assert (await hand_over(number)).success
    assert gitea.issue_labels(number) == [label]
    pages = ["GET /labels"]
    if gitea.sandbox.gitea == "1.26":
        pages.append("GET /labels?page=2&limit=30")
    assert gitea.sequence()[: len(pages)] == pages
    assert len(gitea.seen()) == len(pages) + 2


async def test_no_page_is_asked_for_behind_the_label(gitea, way):
    for name in range(60):
        gitea.make_label(f"z-{name:03}")
    gitea.make_label(LABEL)
    number = gitea.open_issue()
    assert (await hand_over(number)).success
    assert gitea.sequence() == [
        "GET /labels",
        f"POST /issues/{number}/labels",
        f"POST /issues/{number}/comments",
    ]


@pytest.mark.live
async def test_the_lowest_id_of_several(gitea):
    lowest = gitea.make_label(LABEL)
    gitea.make_label(LABEL)
    number = gitea.open_issue()
    assert (await hand_over(number)).success
    assert gitea.issue_labels(number) == [lowest]
    assert len(gitea.labels(LABEL)) == 2


async def test_the_lowest_id_across_a_page_boundary(gitea, way):
    # The name stands last on the first page of 1.26 and first on the second.
    for name in range(29):
        gitea.make_label(f"a-{name:03}")
    lowest = gitea.make_label(LABEL)
    gitea.sandbox.duplicate_label(gitea.repo, LABEL)
    number = gitea.open_issue()
    assert (await hand_over(number)).success
    assert gitea.issue_labels(number) == [lowest]


async def test_the_lowest_id_wherever_it_stands(gitea, way):
    listed = '[{"id":9,"name":"kimi-ready"},{"id":3,"name":"kimi-ready"}]'
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", body=listed)
    await d.dispatch_task("Fix it", issue_number=1, max_retries=0)
    assert gitea.seen()[1].body == b'{"labels":[3]}'


@pytest.mark.live
async def test_30_at_once_create_one(gitea):
    numbers = [gitea.open_issue() for _ in range(30)]
    results = await asyncio.gather(*map(hand_over, numbers))
    assert {(result.success, result.label_applied) for result in results} == {(True, LABEL)}
    (label,) = gitea.labels(LABEL)
    assert {tuple(gitea.issue_labels(number)) for number in numbers} == {(label,)}


async def test_50_at_once_of_two_agents_create_two(gitea, way):
    numbers = [gitea.open_issue() for _ in range(50)]
    # Whoever asked before the label was there must not make a second one.
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", delay=0.05, after_effect=True)
    results = await asyncio.gather(
        *(
            d.dispatch_task("Design it" if number % 2 else "Fix it", issue_number=number)
            for number in numbers
        )
    )
    assert all(result.success for result in results)
    assert len(gitea.labels(LABEL)) == len(gitea.labels("claude-ready")) == 1


def test_threads_with_loops_of_their_own_create_one(gitea, way):
    numbers = [gitea.open_issue() for _ in range(40)]
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", delay=0.05, after_effect=True)
    results = []

    async def some(of):
        return await asyncio.gather(*map(hand_over, of))

    threads = [
        threading.Thread(target=lambda of=numbers[n::8]: results.extend(asyncio.run(some(of))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.label_applied for result in results] == [LABEL] * 40
    assert len(gitea.labels(LABEL)) == 1


async def test_a_failed_creation_lets_the_next_one_try(gitea):
    numbers = [gitea.open_issue() for _ in range(5)]
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="POST", status=422, times=1)
    results = await asyncio.gather(*map(hand_over, numbers))
    assert sorted(str(result.label_applied) for result in results) == ["None"] + [LABEL] * 4
    assert len(gitea.labels(LABEL)) == 1


async def test_a_creation_without_an_answer_is_looked_for(gitea):
    numbers = [gitea.open_issue() for _ in range(5)]
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", delay=0.05, after_effect=True)
    lost = {"drop": True, "after_effect": True, "times": 1}
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="POST", **lost)
    results = await asyncio.gather(*map(hand_over, numbers))
    assert sorted(str(result.label_applied) for result in results) == ["None"] + [LABEL] * 4
    assert len(gitea.labels(LABEL)) == 1


async def test_a_label_removed_later_is_made_again(gitea):
    first, second = gitea.open_issue(), gitea.open_issue()
    assert (await hand_over(first)).success
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", body="[]", times=1)
    assert (await hand_over(second)).success
    assert len(gitea.labels(LABEL)) == 2


@pytest.mark.parametrize(
    ("answer", "applied"),
    [
        ("[]", None),
        ('[{"id": 999}]', None),
        ('[{"name": "kimi-ready"}]', None),
        ("{}", LABEL),
        ("null", LABEL),
        ("not JSON", LABEL),
        ("", LABEL),
    ],
)
async def test_an_array_without_the_label_is_a_failure(gitea, way, answer, applied):
    number = gitea.open_issue()
    gitea.sandbox.fault("*/issues/*/labels", status=200, body=answer)
    result = await hand_over(number)
    assert (result.success, result.label_applied) == (True, applied)
    steps = {"label": f"200, but label kimi-ready is not on issue #{number}"}
    assert result.metadata == ({} if applied else {"failed_steps": steps})
