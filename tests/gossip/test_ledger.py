"""The ledger's laws: whatever is lost, doubled or late, copies that reconcile are equal, and never wrong."""

import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import WireError
from gossip.ledger import GENERATION_LIMIT, PAGES_MAX, Ledger, PageFull, generation_at
from gossip.ledger_messages import DigestIs, Heard, LedgerMessage, Pieces, Push, Sender, Summary, Sync
from gossip.page_notes import SUCCEEDED_MAX, SUCCEEDS, read_succession, succession_note
from gossip.pages import (
    NOTHING,
    PAGE_BYTES_MAX,
    PAGE_BYTES_RESERVE,
    PAGE_ENTRIES_MAX,
    TOMBSTONES_MAX,
    VALUE_BYTES_MAX,
    Entry,
    Mark,
    Page,
    Piece,
    laid_over,
    split,
)
from gossip.wire.ledger import decode_ledger, encode_ledger

NOW = 1_800_000_000.0
GENERATION = generation_at(NOW, 5)

writes = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.binary(max_size=3)), max_size=40)


def write(ledger: Ledger, key: str, value: bytes | None) -> None:
    if value is None:
        ledger.delete(key)
    else:
        ledger.put(key, value)


def living(ledger: Ledger, owner: str = "a") -> dict[str, bytes]:
    page = ledger.pages.get(owner)
    return {} if page is None else dict(page.items())


def reconcile(reader: Ledger, source: Ledger) -> None:
    """One whole exchange, as two members do it."""
    for piece in source.lacking(reader.own.owner, reader.digest()):
        reader.apply(piece)


@given(writes, st.data())
def test_whatever_pieces_are_lost_doubled_or_late_a_reconciled_copy_is_equal(
    all_writes: list[tuple[str, bytes | None]], data: st.DataObject
) -> None:
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    sent: list[Piece] = []
    for key, value in all_writes:
        write(owner, key, value)
        piece = owner.flush()
        if piece is not None:
            sent.append(piece)
    for piece in data.draw(st.lists(st.sampled_from(sent), max_size=60) if sent else st.just([])):
        copy.apply(piece)
    reconcile(copy, owner)
    assert living(copy) == living(owner)
    assert not sent or copy.digest()["a"] == owner.own.mark


@given(writes, st.integers(1, 60))
def test_any_prefix_of_a_split_delta_is_a_valid_copy(
    all_writes: list[tuple[str, bytes | None]], room: int
) -> None:
    """Mutant: a delta cut after its first piece claims what it never brought."""
    owner = Ledger("a", GENERATION)
    history: dict[int, dict[str, bytes]] = {0: {}}
    for key, value in all_writes:
        write(owner, key, value)
        history[owner.own.version] = living(owner)
    piece = owner.flush()
    if piece is None:
        return
    copy = Ledger("b", GENERATION)
    for part in split(piece, room):
        assert copy.apply(part) is not None
        held = copy.pages["a"].version
        # What was overwritten later is absent; everything else up to there is there.
        final = {e.key: e.version for e in owner.own.values.values()}
        for key, then in history[held].items():
            assert living(copy).get(key) == then or final[key] > held
    assert living(copy) == living(owner)


def test_a_gap_is_not_taken_but_asked_for() -> None:
    """Mutant: replicas that take the higher version per key lose a write for ever."""
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    pieces = []
    for key in "xyz":
        owner.put(key, b"1")
        pieces.append(owner.flush())
    assert pieces[0] is not None
    assert pieces[2] is not None
    assert copy.apply(pieces[0]) == ("x",)
    assert copy.apply(pieces[2]) is None
    assert living(copy) == {"x": b"1"}


def test_a_late_duplicate_does_not_bring_back_what_was_deleted_and_collected() -> None:
    """Row B47. Mutant: `k@1` arrives again after its tombstone was collected."""
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    owner.put("k", b"1")
    late = owner.flush()
    assert late is not None
    owner.delete("k")
    owner.put("other", b"2")
    owner.own.collect(owner.own.version)
    reconcile(copy, owner)
    assert copy.apply(late) == ()
    assert living(copy) == {"other": b"2"}


def test_who_is_below_the_floor_gets_the_whole_page() -> None:
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    owner.put("gone", b"1")
    owner.put("kept", b"1")
    reconcile(copy, owner)
    owner.delete("gone")
    owner.put("new", b"1")
    owner.flush()
    owner.own.collect(3)
    [piece] = owner.lacking("b", copy.digest())
    assert piece.reset
    assert set(copy.apply(piece) or ()) >= {"gone", "new"}
    assert living(copy) == {"kept": b"1", "new": b"1"}


def test_a_reset_that_arrives_late_does_not_take_the_copy_back() -> None:
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    owner.put("x", b"1")
    late = owner.piece("a", NOTHING)
    assert late is not None
    owner.put("x", b"2")
    reconcile(copy, owner)
    assert copy.apply(late) == ()
    assert living(copy) == {"x": b"2"}


def test_the_owner_collects_tombstones_when_it_has_too_many() -> None:
    owner = Ledger("a", GENERATION)
    for number in range(TOMBSTONES_MAX + 10):
        owner.put(f"k{number}", b"")
        owner.delete(f"k{number}")
        owner.flush()
    assert owner.own.tombstones <= TOMBSTONES_MAX
    assert owner.own.floor > 0


def test_a_tombstone_that_was_never_told_is_not_collected() -> None:
    """Who has the value would keep it: the next piece would not say that it is gone."""
    owner, copy = Ledger("a", GENERATION, tombstones_max=2), Ledger("b", GENERATION)
    for key in "wxyz":
        owner.put(key, b"1")
    news = owner.flush()
    assert news is not None
    copy.apply(news)
    for key in "wxyz":
        owner.delete(key)
    assert owner.own.floor <= news.upto
    deleted = owner.flush()
    assert deleted is not None
    assert copy.apply(deleted) is not None
    assert living(copy) == {}


def test_a_page_that_is_newer_than_the_note_which_forgets_it_stays() -> None:
    """Rule L6: its owner came back after all, and wrote, before the note was heard."""
    owner, writer, reader = Ledger("a", GENERATION), Ledger("b", GENERATION), Ledger("c", GENERATION)
    owner.put("x", b"1")
    for copy in (writer, reader):
        reconcile(copy, owner)
    writer.forget("a", NOW)
    owner.put("x", b"2")
    reconcile(reader, owner)
    reconcile(reader, writer)
    assert reader.let_go() == []
    assert living(reader) == {"x": b"2"}
    assert writer.let_go() == [("a", ("x",))]


def test_a_page_with_what_is_beneath_it_is_ahead_of_the_same_page_without() -> None:
    lower, upper = Page("a", GENERATION), Page("a", GENERATION + 1)
    lower.store(Entry("x", 1, b"lower"))
    upper.store(Entry("x", 1, b"upper"))
    both = laid_over(lower, upper)
    assert dict(both.items()) == {"x": b"upper"}
    assert both.mark > upper.mark


def test_of_more_earlier_generations_than_the_note_holds_the_newest_stand_in_it() -> None:
    note = succession_note({}, [Mark(generation, 7) for generation in range(1, SUCCEEDED_MAX + 3)])
    assert read_succession(note) == {generation: 7 for generation in range(3, SUCCEEDED_MAX + 3)}


def test_a_higher_generation_replaces_the_page_and_the_former_one_is_offered_to_its_owner() -> None:
    copy, first, second = Ledger("b", GENERATION), Ledger("a", GENERATION), Ledger("a", GENERATION + 1)
    first.put("x", b"1")
    reconcile(copy, first)
    second.put("y", b"2")
    reconcile(copy, second)
    assert living(copy) == {"y": b"2"}
    assert copy.former["a"].get("x") == b"1"
    [offered] = [piece for piece in copy.lacking("a", second.digest()) if piece.owner == "a"]
    assert offered.generation == GENERATION
    assert [entry.key for entry in offered.entries] == ["x"]


def test_a_former_page_is_forgotten_once_its_owner_has_taken_it_over() -> None:
    copy, first, second = Ledger("b", GENERATION), Ledger("a", GENERATION), Ledger("a", GENERATION + 1)
    first.put("x", b"1")
    reconcile(copy, first)
    second.put("y", b"2")
    reconcile(copy, second)
    second.note_succession([Mark(GENERATION, 1)])
    piece = second.piece("a", copy.pages["a"].mark)
    assert piece is not None
    assert set(copy.apply(piece) or ()) == {SUCCEEDS, "x"}
    assert copy.former == {}


def test_a_lower_generation_is_ignored() -> None:
    copy, old, new = Ledger("b", GENERATION), Ledger("a", GENERATION), Ledger("a", GENERATION + 1)
    old.put("x", b"1")
    new.put("y", b"2")
    reconcile(copy, new)
    piece = old.flush()
    assert piece is not None
    assert copy.apply(piece) == ()
    assert living(copy) == {"y": b"2"}


@pytest.mark.parametrize("mark", [Mark(GENERATION_LIMIT, 1), Mark(GENERATION, 2**62 + 1)])
def test_absurd_marks_are_not_taken(mark: Mark) -> None:
    piece = Piece("a", mark.generation, 0, mark.version, 0, ())
    with pytest.raises(ValueError, match="honest"):
        Ledger("b", GENERATION).apply(piece)


def test_a_renewed_page_keeps_what_stood_there_under_a_higher_generation() -> None:
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    owner.put("x", b"1")
    owner.put("y", b"2")
    reconcile(copy, owner)
    owner.renew(GENERATION + 9)
    reconcile(copy, owner)
    assert living(copy) == {"x": b"1", "y": b"2"}


def test_a_full_page_refuses_newcomers_but_never_a_release() -> None:
    owner = Ledger("a", GENERATION)
    value = bytes(VALUE_BYTES_MAX)
    while owner.own.size + VALUE_BYTES_MAX + 200 < PAGE_BYTES_MAX - PAGE_BYTES_RESERVE:
        owner.put(f"k{owner.own.version}", value)
    with pytest.raises(PageFull):
        owner.put("newcomer", value)
    version = owner.own.version
    owner.put("k0", b"ended", ends_something=True)
    owner.delete("k1")
    assert owner.own.version == version + 2


@given(writes, writes, st.integers(0, 2**32))
def test_copies_converge_by_relays_alone(
    left: list[tuple[str, bytes | None]], right: list[tuple[str, bytes | None]], seed: int
) -> None:
    """Any order of exchanges ends in equal digests."""
    random = Random(seed)
    members = [Ledger(name, GENERATION) for name in "abcd"]
    for ledger, ones in zip(members, (left, right, right, left), strict=True):
        for key, value in ones:
            write(ledger, key, value)
            if random.random() < 0.3:
                reconcile(random.choice(members), ledger)
    for _ in range(3):
        for reader in members:
            for source in members:
                if source is not reader:
                    reconcile(reader, source)
    assert len({ledger.fingerprint for ledger in members}) == 1
    for owner in "abcd":
        assert len({tuple(sorted(living(ledger, owner).items())) for ledger in members}) == 1


names = st.text(min_size=1, max_size=8).filter(lambda text: "\udc80" not in text)
numbers = st.integers(0, 2**63)
marks = st.builds(Mark, numbers, numbers)
senders = st.builds(Sender, names, numbers)
digests = st.dictionaries(names, marks, max_size=5)


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    versions = sorted(draw(st.lists(st.integers(1, 1000), unique=True, max_size=5)))
    entries = tuple(Entry(draw(names), v, draw(st.none() | st.binary(max_size=9))) for v in versions)
    upto = draw(st.integers(versions[-1] if versions else 1, 1001))
    return Piece(
        draw(names), draw(numbers), 0, upto, draw(st.integers(0, upto)), entries, draw(st.booleans())
    )


ledger_messages = st.one_of(
    st.builds(Heard, senders, names, marks, marks),
    st.builds(Summary, senders, st.binary(min_size=8, max_size=8)),
    st.builds(DigestIs, senders, digests),
    st.builds(Push, senders, st.lists(pieces(), max_size=3).map(tuple)),
    st.builds(Sync, senders, digests),
    st.builds(Pieces, senders, digests, st.lists(pieces(), max_size=3).map(tuple), st.booleans()),
)


@given(ledger_messages)
def test_decoding_a_ledger_message_undoes_encoding(message: LedgerMessage) -> None:
    assert decode_ledger(encode_ledger(message)) == message


@pytest.mark.parametrize(
    "payload",
    [
        b"K" + b"\xdd\xff\xff\xff\xff" * 1000,
        b"K\x94\x03\xa1a\x00" + b"\x91" * 100_000,
        b"K\x94\x03\xa1a\x00\xdd\x00\x0f\xff\xff",
        b"K\x94\x02\xa1a\x00\xdf\x00\x0f\xff\xff",
        b"K\x94\x02\xa1a\x00\x81\xa1b" + b"\xdd\x00\x0f\xff\xff" * 1000,
        b"K\x94\x03\xa1a\x00\x91\x97\xa1b\x01\x00\x09\x00\xc2\xdd\x00\xff\xff\xff",
    ],
    ids=["arrays", "depth", "pieces", "owners", "a mark", "entries"],
)
def test_lying_lengths_and_depths_are_refused_before_anything_is_allocated(payload: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="bad_ledger"):
            decode_ledger(payload)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_piece_that_makes_a_page_larger_than_its_writer_may_is_refused() -> None:
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    owner.put("k", b"1")
    reconcile(copy, owner)
    page, value = copy.pages["a"], bytes(VALUE_BYTES_MAX)
    count = PAGE_BYTES_MAX // VALUE_BYTES_MAX + PAGE_BYTES_RESERVE // VALUE_BYTES_MAX
    entries = tuple(Entry(f"x{at}", at + 2, value) for at in range(count))
    with pytest.raises(ValueError, match="larger"):
        copy.apply(Piece("a", GENERATION, 1, entries[-1].version, 0, entries))
    assert copy.pages["a"] is page
    assert page.version == 1


def test_a_piece_of_more_entries_than_a_page_may_have_is_refused() -> None:
    count = PAGE_ENTRIES_MAX + TOMBSTONES_MAX + 1
    entries = tuple(Entry(f"{at:x}", at, None) for at in range(1, count + 1))
    with pytest.raises(ValueError, match="larger"):
        Ledger("b", GENERATION).apply(Piece("a", GENERATION, 0, count, 0, entries))


def test_more_pages_than_a_group_has_are_not_taken() -> None:
    copy = Ledger("b", GENERATION)
    for number in range(PAGES_MAX - 1):
        assert copy.apply(Piece(f"a{number}", GENERATION, 0, 1, 0, ())) == ()
    with pytest.raises(ValueError, match="more than"):
        copy.apply(Piece("one more", GENERATION, 0, 1, 0, ()))
    assert copy.apply(Piece("a0", GENERATION, 1, 2, 0, ())) == ()


def test_a_page_of_small_entries_is_full_by_their_number() -> None:
    owner = Ledger("a", GENERATION)
    for number in range(PAGE_ENTRIES_MAX * 15 // 16):
        owner.put(f"{number:x}", b"")
    with pytest.raises(PageFull, match="entries"):
        owner.put("newcomer", b"")
    owner.put("0", b"ended")
    owner.put("release", b"", ends_something=True)


def exchanged(reader: Ledger, source: Ledger) -> int:
    """Reconcile them as members do, with the real codec; gives the bytes of all that was sent."""
    me = Sender("a", 1)
    said: list[LedgerMessage] = [Sync(me, reader.digest())]
    pieces = tuple(source.lacking(reader.own.owner, reader.digest()))
    said.append(Pieces(me, source.digest(), pieces, False))
    payloads = [encode_ledger(message) for message in said]
    answer = decode_ledger(payloads[1])
    assert isinstance(answer, Pieces)
    for piece in answer.pieces:
        assert reader.apply(piece) is not None
    return sum(map(len, payloads))


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_reconciling_costs_at_most_half_as_much_again_as_the_difference(share: float) -> None:
    """Of 10,000 entries: keys and values of what differs, against all bytes that travel."""
    owner, copy = Ledger("a", GENERATION), Ledger("b", GENERATION)
    value = Random(1).randbytes(60)
    for number in range(10_000):
        owner.put(f"node/{number:05}", value)
    reconcile(copy, owner)
    changed = [f"node/{number:05}" for number in Random(2).sample(range(10_000), int(10_000 * share))]
    for key in changed:
        owner.put(key, value[::-1])
    difference = sum(len(key) + len(value) for key in changed)
    assert exchanged(copy, owner) <= 1.5 * difference
    assert living(copy) == living(owner)


updates = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.binary(max_size=3)), max_size=12)


@st.composite
def histories(draw: st.DrawFn) -> list[Piece]:
    """Pieces of one owner's page, as it told them: news of each turn, deltas and resets for others."""
    owner = Ledger("a", GENERATION)
    told: list[Piece] = []
    for batch in draw(st.lists(updates, min_size=1, max_size=6)):
        for key, value in batch:
            write(owner, key, value)
        piece = owner.flush()
        told += [] if piece is None else split(piece, draw(st.integers(1, 60)))
        if draw(st.booleans()):
            owner.own.collect(draw(st.integers(0, owner.own.version)))
        known = Mark(draw(st.sampled_from((GENERATION, 0))), draw(st.integers(0, owner.own.version)))
        delta = owner.piece("a", known)
        told += [] if delta is None else [delta]
    return told


def merged(pieces: list[Piece]) -> Ledger:
    """A copy that got these, and asked for what it lacked as often as that brought something."""
    copy = Ledger("b", GENERATION)
    for _ in range(len(pieces) + 1):
        for piece in pieces:
            copy.apply(piece)
    return copy


@given(histories(), st.randoms(use_true_random=False))
def test_merging_commutes_associates_and_repeats_harmlessly(told: list[Piece], random: Random) -> None:
    """Whatever the order, and however often: copies that got the same pieces are equal."""
    in_order = merged(told)
    shuffled = told * 2
    random.shuffle(shuffled)
    at = random.randrange(len(shuffled) + 1)
    relay = merged(shuffled[:at])
    for piece in [*relay.lacking("c", {}), *shuffled]:
        relay.apply(piece)
    for other in (merged(shuffled), relay):
        reconcile(other, in_order)
        reconcile(in_order, other)
        assert other.digest().get("a") == in_order.digest().get("a")
        assert living(other) == living(in_order)


@given(histories(), st.data())
def test_a_copy_only_goes_forward(told: list[Piece], data: st.DataObject) -> None:
    """Whatever is lost, late or doubled: no mark falls, and nothing is taken that is at or below it."""
    copy, mark = Ledger("b", GENERATION), NOTHING
    for piece in data.draw(st.lists(st.sampled_from(told), max_size=40)) if told else []:
        taken = copy.apply(piece)
        now = copy.digest().get("a", NOTHING)
        assert now >= mark
        assert now == mark or taken is not None
        mark = now
        if (page := copy.pages.get("a")) is not None:
            assert page.tombstones == sum(entry.value is None for entry in page.values.values())


@given(ledger_messages)
def test_a_ledger_message_encodes_to_the_very_bytes_that_were_read(message: LedgerMessage) -> None:
    payload = encode_ledger(message)
    assert encode_ledger(decode_ledger(payload)) == payload


@given(ledger_messages, st.data())
@settings(max_examples=300)
def test_any_ledger_message_decodes_or_is_refused(message: LedgerMessage, data: st.DataObject) -> None:
    payload = bytearray(encode_ledger(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(1, len(payload) - 1))
        match data.draw(st.sampled_from(("set", "cut", "end"))):
            case "set":
                payload[at] = data.draw(st.integers(0, 255))
            case "cut" if len(payload) > 9:
                del payload[at : at + data.draw(st.integers(1, 9))]
            case _ if at > 1:
                del payload[at:]
        if len(payload) < 3:
            break
    try:
        decode_ledger(bytes(payload))
    except WireError:
        return
