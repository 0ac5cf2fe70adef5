"""Inference against a specification of a few lines, on texts that are likely to tell them apart."""

import importlib.util
import os
import random
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given, note, seed, settings
from hypothesis import strategies as st
from timmy import dispatcher
from timmy.dispatcher import Classifier, TaskType

SEED = int(os.environ.get("TIMMY_DISPATCHER_SEED") or random.getrandbits(32))

# Words in which the case of a letter depends on its place, or changes their length.
UNICODE = "ÜBER σας ΣΑΣ σασ ς Σ İ i\u0307 \u0307 ß ẞ STRASSE ǆ ǅ Kelvin \u212aelvin ﬁ Ꭰ ꭰ 🦀 Ω å"
UNICODE_WORDS = UNICODE.split()
UNICODE_LETTERS = " .'\u00ad\u0345\u0301ΣσςİIi\u0307KAa1\u2126Ⱥⱥ"
LETTERS = "  \n\t-kKiI\u0130\u212a\u0307ıſé漢🦀\ud800\udfff\ufffd"


# Whether a sigma is final depends on the properties of what stands beside it. The core's Unicode
# is newer than this Python's: it knows more characters, and two of them otherwise.
CHANGED = "\u0295\U0001171e"
AGREED = {
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) not in {"Cn", "Cs"} and character not in CHANGED
}


def load_generator():
    path = Path(__file__).parent.parent / "vectors/generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


specification = load_generator()


def repeatable(examples):
    def decorate(test):
        return settings(max_examples=examples, deadline=None)(seed(SEED)(test))

    return decorate


def texts(words, letters):
    part = st.tuples(st.sampled_from(words), st.integers(0, 9), st.integers(1, 9)).map(
        lambda cut: cut[0][cut[1] : cut[1] + cut[2]]
    )
    piece = st.one_of(
        st.sampled_from(words),
        st.sampled_from(words).map(str.upper),
        part,
        st.sampled_from(letters),
        st.characters(exclude_categories=()),
        st.integers(0, 70).map("x".__mul__),
    )
    return st.lists(piece, max_size=12).map("".join)


BUILT_IN_TEXTS = texts(specification.KEYWORDS, LETTERS)
UNICODE_TEXTS = texts(UNICODE_WORDS, UNICODE_LETTERS)


def flat(explanation):
    return [
        [
            found.keyword,
            found.task_type,
            [[span.field, span.start, span.end] for span in found.spans],
        ]
        for found in explanation.matches
    ]


@repeatable(1_000)
@given(BUILT_IN_TEXTS, BUILT_IN_TEXTS)
def test_the_built_in_table_answers_as_specified(title, description):
    note(f"TIMMY_DISPATCHER_SEED={SEED}")
    task_type, matches = specification.explain(title, description)
    matches = [[keyword, of, [span[:3] for span in spans]] for keyword, of, spans in matches]
    assert dispatcher.infer_task_type(title, description) is TaskType(task_type)
    explanation = dispatcher.explain_task_type(title, description)
    assert explanation.task_type is TaskType(task_type)
    assert flat(explanation) == matches
    assert Classifier.built_in().explain(title, description) == explanation


@repeatable(1_000)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(TaskType),
            st.lists(
                st.sampled_from(UNICODE_WORDS) | UNICODE_TEXTS.filter(bool), min_size=1, max_size=3
            ),
        ),
        max_size=3,
    ),
    UNICODE_TEXTS,
    UNICODE_TEXTS,
)
def test_any_table_answers_as_lower_would(table, title, description):
    note(f"TIMMY_DISPATCHER_SEED={SEED}")
    for word in [title, description, *(word for _, words in table for word in words)]:
        assume(AGREED.issuperset(word))
    lowered = (title + " " + description).lower()
    expected = next(
        (of for of, words in table if any(word.lower() in lowered for word in words)),
        TaskType.TRIAGE,
    )
    classifier = Classifier(table, default=TaskType.TRIAGE)
    assert classifier.infer(title, description) is expected
    fields = {"title": title, "description": description}
    for found in classifier.explain(title, description).matches:
        spans = [fields[span.field][span.start : span.end] for span in found.spans]
        assert all(spans)
        covered = f" {' '.join(spans).lower()} ".replace("ς", "σ")
        assert found.keyword.replace("ς", "σ") in covered


@pytest.mark.parametrize("word", ["{}lan", "spi{}e", "wr{}te"])
def test_every_character_in_the_place_of_a_letter(word):
    lowering = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\u0130\u212a"
    for character in lowering:
        text = word.format(character)
        assert dispatcher.infer_task_type(text) == specification.explain(text, "")[0]
    others = [c for c in map(chr, range(sys.maxunicode + 1)) if c not in lowering]
    assert not any(set(c.lower()) & set(lowering) for c in others)
    for first in range(0, len(others), 500):
        texts = [word.format(character) for character in others[first : first + 500]]
        if dispatcher.infer_task_type(" ".join(texts)) is TaskType.ROUTINE_CODING:
            continue
        for text in texts:
            assert dispatcher.infer_task_type(text) is TaskType.ROUTINE_CODING, ascii(text)


# A sigma is final after a letter and before none, whatever else stands between.
@pytest.mark.parametrize("context", ["{}", "{}Σ", "ΑΣ{}", "Α{}Σ", "ΑΣ{}Α", "aΣ{}a", "{}{}Σ{}"])
def test_every_character_is_lowered_as_python_lowers_it(context):
    contexts = [context.format(*[character] * 3) for character in sorted(AGREED)]
    for first in range(0, len(contexts), 500):
        block = " | ".join(contexts[first : first + 500])
        if Classifier([(TaskType.RESEARCH, [block.lower()])]).infer(block) is TaskType.RESEARCH:
            continue
        for text in contexts[first : first + 500]:
            table = Classifier([(TaskType.RESEARCH, [text.lower()])])
            assert table.infer(text) is TaskType.RESEARCH, ascii(text)


def test_the_class_of_a_string_does_not_change_what_it_holds():
    class Title(str):
        __slots__ = ()

        def __str__(self):
            return "plan"

    assert dispatcher.infer_task_type(Title("design")) is TaskType.ARCHITECTURE
