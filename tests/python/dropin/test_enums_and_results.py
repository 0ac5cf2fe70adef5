"""The vocabulary and the records behave like Python's own, for they are."""

import copy
import dataclasses
import enum
import json
import pickle

import pytest
from timmy.dispatcher import AgentSpec, AgentType, DispatchResult, DispatchStatus, TaskType

VALUES = {
    AgentType: ["claude_code", "kimi_code", "agent_api", "timmy"],
    TaskType: [
        "architecture",
        "refactoring",
        "complex_reasoning",
        "code_review",
        "parallel_implementation",
        "routine_coding",
        "fast_iteration",
        "research",
        "analysis",
        "specialized",
        "triage",
        "planning",
        "creative",
        "orchestration",
    ],
    DispatchStatus: [
        "pending",
        "assigned",
        "in_progress",
        "completed",
        "failed",
        "escalated",
        "timed_out",
    ],
}

ENUMS = pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)

# A list of a result and an agent, as the single-file module pickled it (protocol 0).
OLD_PICKLE = (
    b"(lp0\nccopy_reg\n_reconstructor\np1\n(ctimmy.dispatcher\nDispatchResult\np2\n"
    b"c__builtin__\nobject\np3\nNtp4\nRp5\n(dp6\nVtask_type\np7\nctimmy.dispatcher\nTaskType\np8\n"
    b"(Vresearch\np9\ntp10\nRp11\nsVagent\np12\nctimmy.dispatcher\nAgentType\np13\n"
    b"(Vagent_api\np14\ntp15\nRp16\nsVissue_number\np17\nI7\nsVstatus\np18\n"
    b"ctimmy.dispatcher\nDispatchStatus\np19\n(Vassigned\np20\ntp21\nRp22\nsVcomment_id\np23\nN"
    b"sVlabel_applied\np24\nNsVerror\np25\nNsVretry_count\np26\nI0\nsVmetadata\np27\n(dp28\n"
    b"Vresponse\np29\n(dp30\nVok\np31\nI01\nsssbag13\n(Vkimi_code\np32\ntp33\nRp34\na."
)


def a_result(**changes):
    values = {
        "task_type": TaskType.RESEARCH,
        "agent": AgentType.AGENT_API,
        "issue_number": 7,
        "status": DispatchStatus.ASSIGNED,
    }
    return DispatchResult(**(values | changes))


def a_spec(**changes):
    values = {
        "name": AgentType.TIMMY,
        "display_name": "Timmy",
        "strengths": frozenset({TaskType.TRIAGE}),
        "gitea_label": None,
    }
    return AgentSpec(**(values | changes))


@ENUMS
def test_members_values_and_order(cls):
    assert issubclass(cls, enum.StrEnum)
    assert [member.value for member in cls] == VALUES[cls]
    assert [member.name for member in cls] == [value.upper() for value in VALUES[cls]]


@ENUMS
def test_a_member_is_its_text(cls):
    for member, value in zip(cls, VALUES[cls], strict=True):
        assert member == value == str(member) == f"{member}"
        assert hash(member) == hash(value)
        assert repr(member) == f"<{cls.__name__}.{value.upper()}: {value!r}>"
        assert {member: 1}[value] == 1


@ENUMS
def test_a_member_is_found_by_its_value(cls):
    assert [cls(value) for value in VALUES[cls]] == list(cls)
    with pytest.raises(ValueError, match="'nonesuch' is not a valid"):
        cls("nonesuch")


@ENUMS
def test_members_go_through_json(cls):
    assert json.dumps(list(cls)) == json.dumps(VALUES[cls])
    assert json.loads(json.dumps({member: member for member in cls})) == {
        value: value for value in VALUES[cls]
    }


@ENUMS
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_members_keep_their_identity_through_pickle_and_copy(cls, protocol):
    for member in cls:
        assert pickle.loads(pickle.dumps(member, protocol)) is member
        assert copy.copy(member) is copy.deepcopy(member) is member


def test_members_of_different_enums_do_not_meet():
    assert len({*AgentType, *TaskType, *DispatchStatus}) == 4 + 14 + 7


def test_a_match_statement_on_members():
    def lane(agent):
        match agent:
            case AgentType.CLAUDE_CODE | AgentType.KIMI_CODE:
                return "gitea"
            case "agent_api":
                return "api"
            case _:
                return "local"

    assert [lane(agent) for agent in AgentType] == ["gitea", "gitea", "api", "local"]


def test_fields_of_a_result():
    fields = dataclasses.fields(DispatchResult)
    assert [(field.name, field.type) for field in fields] == [
        ("task_type", "TaskType"),
        ("agent", "AgentType"),
        ("issue_number", "int | None"),
        ("status", "DispatchStatus"),
        ("comment_id", "int | None"),
        ("label_applied", "str | None"),
        ("error", "str | None"),
        ("retry_count", "int"),
        ("metadata", "dict[str, Any]"),
    ]
    assert fields[-1].default_factory is dict


def test_fields_of_a_spec():
    fields = dataclasses.fields(AgentSpec)
    assert [(field.name, field.type) for field in fields] == [
        ("name", "AgentType"),
        ("display_name", "str"),
        ("strengths", "frozenset[TaskType]"),
        ("gitea_label", "str | None"),
        ("max_concurrent", "int"),
        ("interface", "str"),
        ("api_endpoint", "str | None"),
    ]


def test_defaults_of_a_result():
    result = a_result()
    assert (result.comment_id, result.label_applied, result.error) == (None, None, None)
    assert (result.retry_count, result.metadata) == (0, {})


def test_defaults_of_a_spec():
    spec = a_spec()
    assert (spec.max_concurrent, spec.interface, spec.api_endpoint) == (1, "gitea", None)


def test_each_result_has_metadata_of_its_own():
    first, second = a_result(), a_result()
    first.metadata["seen"] = True
    assert second.metadata == {}


def test_a_result_by_position():
    assert (
        DispatchResult(
            TaskType.RESEARCH,
            AgentType.AGENT_API,
            7,
            DispatchStatus.FAILED,
            42,
            "kimi-ready",
            "down",
            2,
            {"a": 1},
        )
    ) == a_result(
        status=DispatchStatus.FAILED,
        comment_id=42,
        label_applied="kimi-ready",
        error="down",
        retry_count=2,
        metadata={"a": 1},
    )


@pytest.mark.parametrize("missing", ["task_type", "agent", "issue_number", "status"])
def test_a_result_needs_its_first_four_fields(missing):
    values = {"task_type": 1, "agent": 2, "issue_number": 3, "status": 4}
    del values[missing]
    with pytest.raises(TypeError, match=missing):
        DispatchResult(**values)


def test_repr_of_a_result():
    assert repr(a_result(error="é")) == (
        "DispatchResult(task_type=<TaskType.RESEARCH: 'research'>, "
        "agent=<AgentType.AGENT_API: 'agent_api'>, issue_number=7, "
        "status=<DispatchStatus.ASSIGNED: 'assigned'>, comment_id=None, label_applied=None, "
        "error='é', retry_count=0, metadata={})"
    )


def test_repr_of_a_spec():
    assert repr(a_spec()) == (
        "AgentSpec(name=<AgentType.TIMMY: 'timmy'>, display_name='Timmy', "
        "strengths=frozenset({<TaskType.TRIAGE: 'triage'>}), gitea_label=None, max_concurrent=1, "
        "interface='gitea', api_endpoint=None)"
    )


@pytest.mark.parametrize("make", [a_result, a_spec])
def test_records_are_equal_by_value_and_not_hashable(make):
    assert make() == make()
    assert make() is not make()
    assert make() != dataclasses.astuple(make())
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())
    with pytest.raises(TypeError, match="not supported"):
        make() < make()  # noqa: B015


def test_a_result_differs_by_any_field():
    assert a_result() != a_result(retry_count=1)
    assert a_result() != a_result(metadata={"a": 1})


def test_a_result_can_be_changed_in_place():
    result = a_result()
    result.status = DispatchStatus.ESCALATED
    result.note = "a dashboard's own"
    assert (result.status, result.note) == ("escalated", "a dashboard's own")
    assert not result.success


def test_replace_gives_a_changed_copy():
    result = a_result()
    changed = dataclasses.replace(result, retry_count=3)
    assert (changed.retry_count, result.retry_count) == (3, 0)
    assert changed.metadata is result.metadata


def test_asdict_of_a_result_goes_through_json():
    assert json.loads(json.dumps(dataclasses.asdict(a_result(metadata={"local": True})))) == {
        "task_type": "research",
        "agent": "agent_api",
        "issue_number": 7,
        "status": "assigned",
        "comment_id": None,
        "label_applied": None,
        "error": None,
        "retry_count": 0,
        "metadata": {"local": True},
    }


@pytest.mark.parametrize("make", [a_result, a_spec])
def test_records_go_through_pickle_and_copy(make):
    record = make()
    for twin in (
        copy.copy(record),
        copy.deepcopy(record),
        *(
            pickle.loads(pickle.dumps(record, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ):
        assert twin == record
        assert twin is not record
        assert type(twin) is type(record)


def test_a_deep_copy_shares_no_metadata():
    result = a_result(metadata={"response": {"jobs": [1]}})
    twin = copy.deepcopy(result)
    twin.metadata["response"]["jobs"].append(2)
    assert result.metadata == {"response": {"jobs": [1]}}


def test_a_pickle_of_the_old_module_is_read():
    assert pickle.loads(OLD_PICKLE) == [
        a_result(metadata={"response": {"ok": True}}),
        AgentType.KIMI_CODE,
    ]


def test_a_match_statement_on_a_result():
    match a_result(error="down"):
        case DispatchResult(TaskType.RESEARCH, agent, 7, status, error=error):
            assert (agent, status, error) == ("agent_api", "assigned", "down")
        case _:
            pytest.fail("a result matches by position and by name")


@pytest.mark.parametrize("status", DispatchStatus)
def test_success_is_assigned_or_completed(status):
    assert a_result(status=status).success is (status in {"assigned", "completed"})


@pytest.mark.parametrize(
    ("status", "success"),
    [("assigned", True), ("completed", True), ("Assigned", False), (None, False)],
)
def test_success_of_a_status_that_is_plain_text(status, success):
    assert a_result(status=status).success is success


def test_success_cannot_be_set():
    with pytest.raises(AttributeError):
        a_result().success = True


def test_success_of_a_subclass():
    @dataclasses.dataclass
    class AuditedResult(DispatchResult):
        auditor: str = "nobody"

    assert AuditedResult(TaskType.TRIAGE, AgentType.TIMMY, None, DispatchStatus.COMPLETED).success
