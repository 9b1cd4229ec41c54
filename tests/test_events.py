"""Events: written and read back, whatever a file holds; the document's tables say what the classes say."""

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.documents import finite
from mulligan.events import (
    AROUND_RUN,
    IN_RUN,
    OTHERS,
    Evaluated,
    Planned,
    Resumed,
    RolledBack,
    Stopped,
    UnknownEvent,
    read_event,
)
from tools.event_tables import DOCUMENT, described, updated

EVENTS = (*IN_RUN, *AROUND_RUN, *OTHERS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=4), parts, max_size=3),
    max_leaves=6,
)


def test_every_kind_has_a_name_of_its_own():
    assert len({event.kind for event in EVENTS}) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_a_file_holds_is_read_as_the_types_say_and_written_again(event, data):
    values = {field.name: data.draw(JSON) for field in dataclasses.fields(event)}
    read = event.read(values)
    document = json.loads(json.dumps(finite(read.to_json())))
    assert document["kind"] == event.kind
    assert event.read(document) == read


def test_nothing_read_is_another_type_than_it_says():
    read = Evaluated.read({"kid": "low", "best": 1, "nimg": None, "memorisation": {"ratio": True}, "average": 3})
    assert (read.kid, read.best, read.nimg, read.average) == (None, False, 0.0, "3")
    assert read.memorisation == {"ratio": None, "share": None}
    assert Evaluated.read({"kid": math.inf}).kid is None
    assert Planned.read({"nearest": [[], ["digits"], ["glyphs", 1, 2]]}).nearest == [
        ("", None),
        ("digits", None),
        ("glyphs", 1),
    ]


def test_what_stands_at_its_default_is_left_out_but_for_the_time():
    assert Stopped(reason="enough", code="budget").to_json() == {
        "kind": "stop",
        "nimg": 0.0,
        "seconds": 0.0,
        "reason": "enough",
        "code": "budget",
    }
    assert Resumed(from_nimg=7, reason=None).to_json()["reason"] is None


def test_the_kind_says_which_class():
    assert isinstance(read_event({"kind": "guard", "nimg": 3}), RolledBack)
    assert read_event({"kind": "dance", "nimg": 3, "steps": [1]}) == UnknownEvent(
        nimg=3, name="dance", values={"steps": [1]}
    )


def test_the_documents_tables_are_those_of_the_classes():
    assert DOCUMENT.read_text() == updated(DOCUMENT.read_text()), "run: python -m tools.event_tables"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_docstrings_describe_fields_that_exist(event):
    assert set(described(event)) <= {field.name for field in dataclasses.fields(event)}
