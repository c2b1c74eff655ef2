"""What stands on pages: packing undoes unpacking, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.records import CloneNote, NodeRecord, NodeState, Setting, pack_names, unpack_names

records = st.builds(
    NodeRecord,
    st.sampled_from(NodeState),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.booleans(),
    st.booleans(),
    st.floats(0, 1e10),
    *[st.text(max_size=20)] * 4,
)


@given(records)
def test_a_record_survives_packing(record: NodeRecord) -> None:
    assert NodeRecord.unpack(record.pack()) == record


@given(st.binary(max_size=60))
def test_any_other_bytes_are_no_record(data: bytes) -> None:
    for unpack in (NodeRecord.unpack, CloneNote.unpack, Setting.unpack, unpack_names):
        try:
            unpack(data)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (Setting(0, "b", 99), Setting(1, "a", 1)),
        (Setting(1, "a", 99), Setting(1, "b", 1)),
        (Setting(0, "b", 9), Setting(0, "a", 10)),
        (Setting(0, "a", 10), Setting(0, "b", 10)),
    ],
    ids=["a set value beats a file's", "then the writer's name", "the larger of two files", "then its name"],
)
def test_which_of_two_settings_prevails(lower: Setting, higher: Setting) -> None:
    assert lower.order < higher.order


def test_settings_and_notes_survive_packing() -> None:
    setting = Setting(3, "m1", {"public": [100.0, 1.0]})
    assert Setting.unpack(setting.pack()) == setting
    assert CloneNote.unpack(CloneNote(4, 5).pack()) == CloneNote(4, 5)
    assert unpack_names(pack_names(["a", "b"])) == ["a", "b"]
