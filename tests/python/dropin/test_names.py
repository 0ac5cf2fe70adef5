"""Every name is where it was, with the signature it had."""

import __future__

import asyncio
import dataclasses
import enum
import inspect
import logging
import pickle
import typing
from unittest.mock import AsyncMock, MagicMock, patch

import pytest
from timmy import dispatcher

COROUTINE_FUNCTIONS = {
    "_apply_gitea_label": (
        "(client: 'Any', base_url: 'str', repo: 'str', headers: 'dict[str, str]', "
        "issue_number: 'int', label_name: 'str', label_color: 'str' = '#0075ca') -> 'bool'"
    ),
    "_dispatch_local": (
        "(title: 'str', description: 'str' = '', acceptance_criteria: 'list[str] | None' = None, "
        "issue_number: 'int | None' = None) -> 'DispatchResult'"
    ),
    "_dispatch_via_api": (
        "(agent: 'AgentType', title: 'str', description: 'str', acceptance_criteria: 'list[str]', "
        "issue_number: 'int | None' = None, endpoint: 'str | None' = None) -> 'DispatchResult'"
    ),
    "_dispatch_via_gitea": (
        "(agent: 'AgentType', issue_number: 'int', title: 'str', description: 'str', "
        "acceptance_criteria: 'list[str]') -> 'DispatchResult'"
    ),
    "_log_escalation": "(issue_number: 'int', agent: 'AgentType', error: 'str') -> 'None'",
    "_poll_issue_completion": (
        "(issue_number: 'int', poll_interval: 'int' = 60, max_wait: 'int' = 7200)"
        " -> 'DispatchStatus'"
    ),
    "_post_gitea_comment": (
        "(client: 'Any', base_url: 'str', repo: 'str', headers: 'dict[str, str]', "
        "issue_number: 'int', body: 'str') -> 'int | None'"
    ),
    "dispatch_task": (
        "(title: 'str', description: 'str' = '', acceptance_criteria: 'list[str] | None' = None, "
        "task_type: 'TaskType | None' = None, agent: 'AgentType | None' = None, "
        "issue_number: 'int | None' = None, api_endpoint: 'str | None' = None, "
        "max_retries: 'int' = 1) -> 'DispatchResult'"
    ),
    "wait_for_completion": (
        "(issue_number: 'int', poll_interval: 'int' = 60, max_wait: 'int' = 7200)"
        " -> 'DispatchStatus'"
    ),
}

PLAIN_FUNCTIONS = {
    "_format_assignment_comment": (
        "(display_name: 'str', task_type: 'TaskType', description: 'str', "
        "acceptance_criteria: 'list[str]') -> 'str'"
    ),
    "_log_dispatch_result": (
        "(title: 'str', result: 'DispatchResult', attempt: 'int', max_retries: 'int') -> 'None'"
    ),
    "_select_dispatch_strategy": "(agent: 'AgentType', issue_number: 'int | None') -> 'str'",
    "_select_label": "(agent: 'AgentType') -> 'str | None'",
    "_validate_task": (
        "(title: 'str', task_type: 'TaskType | None', agent: 'AgentType | None', "
        "issue_number: 'int | None') -> 'DispatchResult | None'"
    ),
    "infer_task_type": "(title: 'str', description: 'str' = '') -> 'TaskType'",
    "select_agent": "(task_type: 'TaskType') -> 'AgentType'",
}

FUNCTIONS = COROUTINE_FUNCTIONS | PLAIN_FUNCTIONS

CLASSES = {
    "AgentSpec": (
        "(name: 'AgentType', display_name: 'str', strengths: 'frozenset[TaskType]', "
        "gitea_label: 'str | None', max_concurrent: 'int' = 1, interface: 'str' = 'gitea', "
        "api_endpoint: 'str | None' = None) -> None"
    ),
    "DispatchResult": (
        "(task_type: 'TaskType', agent: 'AgentType', issue_number: 'int | None', "
        "status: 'DispatchStatus', comment_id: 'int | None' = None, "
        "label_applied: 'str | None' = None, error: 'str | None' = None, retry_count: 'int' = 0, "
        "metadata: 'dict[str, Any]' = <factory>) -> None"
    ),
}

ENUMS = ["AgentType", "TaskType", "DispatchStatus"]


@pytest.mark.parametrize(("name", "signature"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_a_function_keeps_its_signature(name, signature):
    assert str(inspect.signature(getattr(dispatcher, name))) == signature


@pytest.mark.parametrize(("name", "signature"), CLASSES.items(), ids=CLASSES)
def test_a_dataclass_keeps_its_signature(name, signature):
    assert str(inspect.signature(getattr(dispatcher, name))) == signature


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_that_python_knows_everything_about(name):
    function = getattr(dispatcher, name)
    assert inspect.isfunction(function)
    assert function.__name__ == function.__qualname__ == name
    assert inspect.getdoc(function)
    assert inspect.iscoroutinefunction(function) is (name in COROUTINE_FUNCTIONS)
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("name", [*CLASSES, *ENUMS])
def test_a_class_says_it_lives_in_the_module(name):
    cls = getattr(dispatcher, name)
    assert (cls.__module__, cls.__qualname__) == ("timmy.dispatcher", name)
    assert inspect.getdoc(cls)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("asyncio", asyncio),
        ("logging", logging),
        ("dataclass", dataclasses.dataclass),
        ("field", dataclasses.field),
        ("StrEnum", enum.StrEnum),
        ("Any", typing.Any),
        ("annotations", __future__.annotations),
    ],
)
def test_what_the_module_imports_can_be_reached_through_it(name, value):
    assert getattr(dispatcher, name) is value


def test_the_logger_is_the_modules_own():
    assert dispatcher.logger is logging.getLogger("timmy.dispatcher")
    assert dispatcher.__name__ == "timmy.dispatcher"
    assert dispatcher.__doc__


def test_the_logger_is_left_to_the_host():
    assert dispatcher.logger.level == logging.NOTSET
    assert dispatcher.logger.propagate
    assert all(isinstance(handler, logging.NullHandler) for handler in dispatcher.logger.handlers)


def test_a_star_import_brings_the_public_names():
    names = {}
    exec("from timmy.dispatcher import *", names)
    assert names.keys() >= {
        *CLASSES,
        *ENUMS,
        "AGENT_REGISTRY",
        "dispatch_task",
        "infer_task_type",
        "select_agent",
        "wait_for_completion",
    }
    assert "_dispatch_local" not in names


@pytest.mark.parametrize("name", COROUTINE_FUNCTIONS)
def test_patch_makes_an_async_mock_of_a_coroutine_function(name):
    with patch(f"timmy.dispatcher.{name}") as replacement:
        assert isinstance(replacement, AsyncMock)
        assert getattr(dispatcher, name) is replacement


@pytest.mark.parametrize("name", PLAIN_FUNCTIONS)
def test_patch_makes_a_plain_mock_of_a_plain_function(name):
    with patch(f"timmy.dispatcher.{name}") as replacement:
        assert isinstance(replacement, MagicMock)
        assert not isinstance(replacement, AsyncMock)


async def test_an_autospec_of_dispatch_task_refuses_what_it_refuses():
    with patch("timmy.dispatcher.dispatch_task", autospec=True) as replacement:
        await dispatcher.dispatch_task("Plan the week", issue_number=7, max_retries=0)
        with pytest.raises(TypeError):
            await dispatcher.dispatch_task("Plan the week", isue_number=7)
    replacement.assert_awaited_once_with("Plan the week", issue_number=7, max_retries=0)


def test_an_unknown_argument_is_refused_at_the_call():
    with pytest.raises(TypeError, match="isue_number"):
        dispatcher.dispatch_task("Plan the week", isue_number=7)


def test_a_missing_argument_is_refused_at_the_call():
    with pytest.raises(TypeError, match="title"):
        dispatcher.dispatch_task()
