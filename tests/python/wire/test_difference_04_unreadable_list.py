"""4. A label list that cannot be read is a failure, not an absent label."""

import pytest
import timmy.dispatcher as d


@pytest.mark.parametrize("status", [204, 302, 400, 401, 403, 404, 429, 500, 502, 503])
async def test_no_label_is_made(gitea, way, status):
    number = gitea.open_issue()
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", status=status)
    result = await d.dispatch_task("Fix it", issue_number=number)
    assert gitea.sequence() == ["GET /labels", f"POST /issues/{number}/comments"]
    assert (result.status, result.label_applied) == (d.DispatchStatus.ASSIGNED, None)
    assert result.metadata["failed_steps"]["label"].startswith(f"{status} ")


@pytest.mark.parametrize("page", ["[", "{}", '"x"', "7", "[7]", '[{"name":"kimi-ready"}]', "\xff"])
async def test_nor_of_what_is_no_list_of_labels(gitea, way, page):
    number = gitea.open_issue()
    body = page.encode("latin-1")
    gitea.sandbox.fault(f"{gitea.repo}/labels", method="GET", body=body)
    result = await d.dispatch_task("Fix it", issue_number=number)
    assert result.success
    made = [one for one in gitea.sequence() if one == "POST /labels"]
    # An empty object holds no labels, as far as httpx's users can see.
    assert made == (["POST /labels"] if (way, page) == ("httpx", "{}") else [])
    if not made:
        assert result.metadata["failed_steps"]["label"]


async def test_nor_where_a_further_page_fails(gitea, way):
    number = gitea.open_issue()
    gitea.sandbox.page_2_label(gitea.repo, "zzz")
    gitea.sandbox.fault("*/labels?page=2*", status=500)
    result = await d.dispatch_task("Fix it", issue_number=number)
    assert ("POST /labels" in gitea.sequence()) == (gitea.sandbox.gitea == "1.25")
    assert (result.label_applied is None) == (gitea.sandbox.gitea == "1.26")
