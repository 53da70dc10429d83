"""Where the user of `landline top` is, and how keys move them."""

from dataclasses import dataclass
from typing import get_args

from landline.cli.top.keys import Key
from landline.monitor.state import PAGE_MAX, Shown, Snapshot, Sort, View

SORTS: tuple[Sort, ...] = get_args(Sort)


@dataclass
class Place:
    """A cursor in the list of sessions, or in the turns of one."""

    sort: Sort = "changed"
    show: Shown = "all"
    selected: str = ""
    """The session under the cursor."""
    top: int = 0
    """The first session that is shown; of turns, how many newer ones are below the screen."""
    opened: str = ""
    """The session that is looked at closely."""
    rows: int = 10
    """Rows that the last screen had room for."""

    @property
    def view(self) -> View:
        """What to ask the server for."""
        return View(sessions=PAGE_MAX, sort=self.sort, show=self.show, session=self.opened)

    def press(self, key: Key, snapshot: Snapshot) -> None:
        """Moves as the key says; `QUIT` is not for here."""
        match key:
            case Key.BACK:
                self.opened, self.top = "", 0
            case Key.ENTER if not self.opened:
                self.opened, self.top = self.cursor(snapshot), 0
            case Key.SORT if not self.opened:
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            case Key.SHOW if not self.opened:
                self.show = "live" if self.show == "all" else "all"
            case _:
                self._move(self._step(key), snapshot)

    def cursor(self, snapshot: Snapshot) -> str:
        """The selected session, or the first when that one is not there; "" when there is none."""
        ids = [row.id for row in snapshot.sessions.rows]
        return self.selected if self.selected in ids else next(iter(ids), "")

    def _step(self, key: Key) -> int:
        far = 10**9
        page = max(1, self.rows - 1)
        steps = {Key.UP: -1, Key.DOWN: 1, Key.PAGE_UP: -page, Key.PAGE_DOWN: page, Key.FIRST: -far, Key.LAST: far}
        return steps.get(key, 0)

    def _move(self, step: int, snapshot: Snapshot) -> None:
        if self.opened:
            turns = len(snapshot.session.turns) if snapshot.session is not None else 0
            self.top = max(0, min(self.top - step, turns - self.rows))
            return
        ids = [row.id for row in snapshot.sessions.rows]
        if ids:
            at = ids.index(self.cursor(snapshot))
            self.selected = ids[max(0, min(at + step, len(ids) - 1))]
