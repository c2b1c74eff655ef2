"""What it means that somebody does not answer somebody."""

from typing import Any

import pytest

from manager.reaching import findings, silent, views_in


def seen(name: str, state: str = "alive", udp: float | None = 0.1, tcp: float | None = 0.1) -> dict[str, Any]:
    return {
        "name": name,
        "address": f"10.0.0.{name[1:]}:7946",
        "state": state,
        "udp": udp,
        "tcp": tcp,
        "why": "" if tcp else "refused",
    }


def hints(found: dict[str, Any]) -> list[str]:
    return [finding["what"] for finding in findings(found)]


def views(**members: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: {"members": listed, "left_out": 0} for name, listed in members.items()}


def test_where_everybody_answers_nothing_is_said() -> None:
    found = views(m1=[seen("m2")], m2=[seen("m1")])
    assert (silent(found), hints(found)) == ([], [])


def test_udp_that_is_not_let_through_is_told_from_tcp_that_is_not() -> None:
    found = views(m1=[seen("m2", udp=None)], m2=[seen("m1", tcp=None)])
    assert silent(found) == ["m1", "m2"]
    [udp, tcp] = hints(found)
    assert "m2 answers m1 by TCP and not by UDP: let UDP to 10.0.0.2:7946 and its answers back" in udp
    assert "m1 answers m2 by UDP and not by TCP (refused): let TCP to port 7946 through" in tcp


def test_of_one_host_that_takes_no_udp_one_line_is_said() -> None:
    m1, m2, m3 = seen("m1", udp=None), seen("m2", udp=None), seen("m3", udp=None)
    found = views(m1=[m2, seen("m3")], m2=[m1, m3], m3=[seen("m1"), m2])
    [hint] = hints(found)
    assert hint.startswith("m2 and all others have no answers of each other by UDP, only by TCP")
    assert "at its host 10.0.0.2:7946" in hint
    assert silent(found) == ["m1", "m2", "m3"]


def test_a_dead_member_that_all_find_silent_is_named_once_with_how_to_forget_it() -> None:
    gone = seen("m3", "dead", None, None)
    assert hints(views(m1=[gone], m2=[gone])) == [
        "m3 is dead and silent: `kcm force-leave m3` if it does not come back"
    ]


def test_whom_one_holds_for_dead_and_who_answers_another_is_not_to_be_forgotten() -> None:
    found = views(m1=[seen("m3", "dead", None, None)], m3=[seen("m1")])
    assert hints(found) == ["m3 is dead for m1 and answers others: see its log"]


def test_who_is_dead_and_answers_may_be_two() -> None:
    assert "are there two of that name" in hints(views(m1=[seen("m3", "dead")]))[0]


def test_who_answers_nobody_may_be_advertised_wrongly() -> None:
    assert "(`advertise`)" in hints(views(m1=[seen("m2", "suspect", None, None)]))[0]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"views": {}},
        {"views": {"m1": {}}},
        {"views": {"m1": {"members": [{}], "left_out": 0}}},
        {"views": {"m1": {"members": [{**seen("m2"), "udp": "soon"}], "left_out": 0}}},
    ],
)
def test_what_is_no_answer_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        views_in(answer)


def test_an_answer_of_another_manager_is_taken_as_it_came() -> None:
    found = views(m1=[seen("m2")])
    assert views_in({"views": found, "news": 1}) == found
