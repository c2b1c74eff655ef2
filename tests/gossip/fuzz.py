"""Coverage-guided fuzzing of all that reads strangers' bytes: `make fuzz SECONDS=60`.

What it learns stays in `tests/gossip/corpus`, so each run goes on where the last one ended, and is run as
plain tests by `test_corpus.py`. A find is written there too, as `crash-…`, and fails until it is mended.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossip.errors import WireError
from gossip.wire import StreamReader, decode_packet, decode_serf, decode_tags, encode_packet
from gossip.wire.ledger import PREFIX, decode_ledger, encode_ledger
from gossip.wire.lzw import expand

CORPUS: Final = Path(__file__).parent / "corpus"


def packet(data: bytes) -> None:
    """What was read can be written, and reads the same."""
    for message in decode_packet(data).messages:
        assert decode_packet(encode_packet([message])).messages == (message,)


def stream(data: bytes) -> None:
    """However it is cut, it comes to the same end."""
    ends = []
    for pieces in ([data], [data[: len(data) // 2], data[len(data) // 2 :]]):
        reader = StreamReader()
        try:
            ends.append((next(filter(None, map(reader.feed, pieces)), None), reader.rejected))
        except WireError as error:
            ends.append((error.reason, reader.rejected))
    assert ends[0] == ends[1]


def ledger(data: bytes) -> None:
    message = decode_ledger(PREFIX + data)
    assert decode_ledger(encode_ledger(message)) == message


READERS: Final[tuple[Callable[[bytes], object], ...]] = (
    packet,
    stream,
    ledger,
    decode_serf,
    decode_tags,
    lambda data: expand(data, 4096),
)


def one_input(data: bytes) -> None:
    """The first byte says which of the readers gets the rest."""
    if data:
        try:
            READERS[data[0] % len(READERS)](data[1:])
        except WireError:
            return


def main(seconds: int) -> int:
    """Fuzz for so long, then keep what covers something that nothing smaller covers."""
    command = (sys.executable, __file__, "--", f"-artifact_prefix={CORPUS}/", "-max_len=4096", "-timeout=5")
    found = subprocess.run((*command, f"-max_total_time={seconds}", str(CORPUS)), check=False).returncode
    with tempfile.TemporaryDirectory() as smaller:
        merge = (*command, "-merge=1", smaller, str(CORPUS))
        if found == 0 and subprocess.run(merge, check=False, capture_output=True).returncode == 0:
            for file in CORPUS.iterdir():
                file.unlink()
            for file in Path(smaller).iterdir():
                (CORPUS / file.name[:16]).write_bytes(file.read_bytes())
    return found


def fuzz(arguments: list[str]) -> None:
    """In a process of its own: libFuzzer ends it."""
    import atheris

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1] == "--":
        fuzz(sys.argv[2:])
    else:
        sys.exit(main(int(sys.argv[1])))
