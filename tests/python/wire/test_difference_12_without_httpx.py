"""12. A missing httpx is no error."""

import subprocess
import sys

HAND_OVER = """
import asyncio, sys
sys.modules["httpx"] = sys.modules["httpcore"] = None  # importing them is an ImportError
import timmy.dispatcher as d

async def main(number, agent_url):
    labelled = await d.dispatch_task("Fix it", issue_number=number)
    assert labelled.success, labelled.error
    posted = await d.dispatch_task("Research it", api_endpoint=agent_url)
    assert posted.metadata == {"response": {"status": "accepted", "id": 1}}, posted.error
    assert await d.wait_for_completion(number, 1, 0.2) is d.DispatchStatus.TIMED_OUT

    async def helper(client, base, repo, headers, issue, body):
        answer = await client.post(f"{base}/repos/{repo}/issues/{issue}/comments",
                                   headers=headers, json={"body": "by a helper"})
        return answer.json()["id"]

    d._post_gitea_comment = helper
    helped = await d.dispatch_task("Fix it", issue_number=number)
    assert helped.comment_id, helped.error

    d.use_http("httpx")
    chosen = await d.dispatch_task("Research it", api_endpoint=agent_url, max_retries=0)
    assert "httpx" in chosen.error, chosen.error

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


def test_everything_works(gitea, agent_url):
    number = gitea.open_issue()
    command = [sys.executable, "-c", HAND_OVER, str(number), agent_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(gitea.comments(number)) == 2
    assert gitea.comments(number)[1] == "by a helper"
