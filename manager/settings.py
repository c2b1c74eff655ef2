"""Values that an operator gave and that hold for the whole group: subscription and limits (rule L7).

Each manager's YAML value stands on its own page with serial 0. A value set live has one more than the
highest serial seen, and every manager copies the winner to its own page, so that it outlives its writer.
It does so a moment later: else each of n managers would tell all others at once what all have just heard.
"""

from collections.abc import Iterable

from gossip.ledger import Ledger
from manager.records import SETTING, Setting

COPIED_AT_ONCE = 4
"""How many managers copy at once what another has set; as many more follow after each interval."""
COPIED_EVERY = 0.25
"""That interval, in seconds."""


class Settings:
    """Reads and writes the settings on the pages of `ledger`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._winners: dict[str, Setting] = {}
        self._warned: set[tuple[str, str]] = set()
        self._uncopied: set[str] = set()
        self._copies_at: float | None = None

    def get(self, name: str) -> Setting | None:
        """The setting that prevails."""
        return self._winners.get(name)

    def recall(self, before: Iterable[tuple[str, bytes]]) -> None:
        """What an operator had set stands on our page again; `before` stood there when we last ran."""
        for key, value in before:
            if key.startswith(SETTING):
                try:
                    setting = Setting.unpack(value)
                except ValueError:
                    continue
                if setting.serial > 0:
                    self._write(key[len(SETTING) :], setting)

    def file_says(self, name: str, value: object, before: object) -> str:
        """Our own file's value at this start, None for none; `before`: what it was at the last, if we know.

        It holds while nobody has set one, and where it is new since the last start. Gives a line for the
        operator in that case, else an empty one.
        """
        self._settle(name, self._all(name))
        winner = self._winners.get(name)
        if value is None:
            return ""
        if winner is None or winner.serial == 0:
            self._write(name, Setting(0, self._ledger.own.owner, value))
            return ""
        if before is None or value in (before, winner.value):
            return ""
        serial = self.set(name, value).serial
        return (
            f"{name}: the file has changed since this manager's last start, and holds now (serial {serial})"
        )

    def set(self, name: str, value: object) -> Setting:
        """An operator's value, above all that we have seen."""
        winner = self._winners.get(name)
        setting = Setting((winner.serial if winner else 0) + 1, self._ledger.own.owner, value)
        self._write(name, setting)
        return setting

    def page_changed(self, keys: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Settle what changed: the names whose winner changed, and warnings for the operator, each once."""
        changed, warnings = [], []
        for name in sorted({key[len(SETTING) :] for key in keys if key.startswith(SETTING)}):
            found = self._all(name)
            if self._settle(name, found):
                changed.append(name)
            warnings += self._mismatches(name, found)
        return changed, warnings

    def copy_winners(self, now: float, before_us: int) -> None:
        """Put on our page what others have set, in our turn: `before_us` managers copy it earlier.

        Call it twice a second or so. In a large group a copy at once by each would be news from all to all.
        """
        if not self._uncopied:
            self._copies_at = None
            return
        if self._copies_at is None:
            self._copies_at = now + before_us // COPIED_AT_ONCE * COPIED_EVERY
        if now < self._copies_at:
            return
        self._copies_at = None
        for name in sorted(self._uncopied):
            self._ledger.put(SETTING + name, self._winners[name].pack(), ends_something=True)
        self._uncopied.clear()

    def _write(self, name: str, setting: Setting) -> None:
        self._ledger.put(SETTING + name, setting.pack(), ends_something=True)
        self._settle(name, self._all(name))

    def _settle(self, name: str, found: list[tuple[str, Setting]]) -> bool:
        heard = [setting for _, setting in found]
        if (known := self._winners.get(name)) is not None and known.serial > 0:
            heard.append(known)  # its writer may have lost it before anybody has copied it
        if not heard:
            return False
        winner = max(heard, key=lambda setting: setting.order)
        own = dict(found).get(self._ledger.own.owner)
        if winner.serial > 0 and winner != own:
            self._uncopied.add(name)
        else:
            self._uncopied.discard(name)
        changed = self._winners.get(name) != winner
        self._winners[name] = winner
        return changed

    def _all(self, name: str) -> list[tuple[str, Setting]]:
        found = []
        for owner in sorted(self._ledger.pages):
            value = self._ledger.pages[owner].get(SETTING + name)
            if value is not None:
                try:
                    found.append((owner, Setting.unpack(value)))
                except ValueError:
                    continue
        return found

    def _mismatches(self, name: str, found: list[tuple[str, Setting]]) -> list[str]:
        own = self._ledger.own.owner
        yaml = {owner: s.value for owner, s in found if s.serial == 0 and s.writer == owner}
        warnings = []
        for owner, value in yaml.items():
            if owner != own and own in yaml and value != yaml[own] and (name, owner) not in self._warned:
                self._warned.add((name, owner))
                winner = self._winners[name]
                warnings.append(
                    f"{name}: this manager's file says {yaml[own]}, that of {owner} says {value}; "
                    f"{winner.value} of {winner.writer} holds. Make the files equal"
                )
        return warnings
