"""Settings on the pages of two managers, without anything around them."""

from gossip.ledger import Ledger
from gossip.pages import NOTHING
from manager.records import SETTING, Setting
from manager.settings import Settings

NAME = "subscription"
KEY = SETTING + NAME


def hear(reader: Ledger, writer: Ledger) -> None:
    piece = writer.piece(writer.own.owner, reader.digest().get(writer.own.owner, NOTHING))
    assert piece is not None
    assert reader.apply(piece) is not None


def test_what_an_operator_set_elsewhere_is_on_our_page_after_the_next_copy() -> None:
    ours, theirs = Ledger("m1", 1), Ledger("m2", 1)
    settings = Settings(ours)
    said = Settings(theirs).set(NAME, 5)
    hear(ours, theirs)
    assert settings.page_changed((KEY,)) == ([NAME], [])
    assert ours.own.get(KEY) is None
    settings.copy_winners(0.0, 0)
    assert ours.own.get(KEY) == said.pack()


def test_what_was_heard_holds_although_its_writer_loses_it_before_anybody_has_copied_it() -> None:
    """Strict seed 5055: a manager followed setting 4 after 5."""
    ours, theirs = Ledger("m1", 1), Ledger("m2", 1)
    settings = Settings(ours)
    said = Settings(theirs).set(NAME, 5)
    hear(ours, theirs)
    settings.page_changed((KEY,))
    started_anew = Ledger("m2", 2)
    Settings(started_anew).file_says(NAME, 3, None)
    hear(ours, started_anew)
    assert settings.page_changed((KEY,)) == ([], [])
    assert settings.get(NAME) == said
    settings.copy_winners(0.0, 0)
    value = ours.own.get(KEY)
    assert value is not None
    assert Setting.unpack(value) == said
