"""What stands on pages: packing undoes unpacking, and nothing else is taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import packing
from manager.limits.budgets import Holding
from manager.packing import pack
from manager.records import (
    CloneNote,
    NodeRecord,
    NodeState,
    Runs,
    Setting,
    Turn,
    pack_names,
    unpack_names,
)
from manager.seats import records as seats
from manager.seats.records import Expelled
from node.protocol import ConfigState

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


@pytest.mark.parametrize(
    "record",
    [
        NodeRecord(NodeState.ACTIVE, 1, 2, 3, True, False, 4.0, "why", "name", "address", "gateway"),
        CloneNote(1, 2),
        Runs("nginx", 1, 2, ConfigState()),
        Turn(1, "m1", (2, 3)),
        Setting(1, "m1", {"max_nodes": 3}),
        Holding(1.0, 2.0, ((1.0, 3.0),)),
    ],
)
def test_what_a_later_version_has_added_is_passed_over(record: Any) -> None:
    packed = pack([*packing.unpack(record.pack()), "a later field", {"and": ["more"]}])
    assert type(record).unpack(packed) == record


def test_what_a_later_version_has_added_to_a_right_is_passed_over() -> None:
    expelled = Expelled("m1", 1.0)
    packed = pack([*packing.unpack(seats.pack(expelled)), "a later field"])
    assert seats.unpack(Expelled, packed) == expelled
    assert seats.unpack(Expelled, pack(["m1"])) is None


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
def test_the_higher_serial_prevails_then_the_larger_file_value_then_the_writer(
    lower: Setting, higher: Setting
) -> None:
    assert lower.order < higher.order


def test_settings_and_notes_survive_packing() -> None:
    setting = Setting(3, "m1", {"public": [100.0, 1.0]})
    assert Setting.unpack(setting.pack()) == setting
    assert CloneNote.unpack(CloneNote(4, 5).pack()) == CloneNote(4, 5)
    assert unpack_names(pack_names(["a", "b"])) == ["a", "b"]
