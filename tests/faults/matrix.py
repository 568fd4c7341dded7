"""Play the table: on an environment of each mode, some at the same time."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from corpus.lab.machine import Lab
from faults import report
from faults.cells import Cell
from faults.play import play
from faults.report import Row
from faults.stand import Stand
from faults.visitors import Visitors

AT_ONCE = 2  # stands that play at a time: as many as small machines have cores


class Player(threading.Thread):
    """Plays cells one after the other, those of one mode on one stand."""

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        name: str,
        todo: queue.Queue[Cell],
        take: Callable[[Row], None],
    ) -> None:
        super().__init__(name=name)
        self.lab, self.folder, self.todo, self.take = lab, folder, todo, take
        self.stand: Stand | None = None

    def run(self) -> None:
        """Take cells until there are none."""
        try:
            while True:
                try:
                    cell = self.todo.get_nowait()
                except queue.Empty:
                    return
                self.take(self._play(cell))
        finally:
            self._leave()

    def _play(self, cell: Cell) -> Row:
        if cell.why_not:
            return Row(cell, "n/a", cell.why_not)
        began = time.monotonic()
        try:
            stand = self._stand(cell)
            stand.said.clear()
            told = play(stand, self.visitors, cell)
        except Exception:
            told = [traceback.format_exc()]
        row = Row(cell, "fail" if told else "pass", "\n".join(told))
        print(f"{row.outcome}  {cell.name}  ({time.monotonic() - began:.1f} s)", flush=True)
        if told:
            lines = self.stand.told() if self.stand else []
            print(f"{row.why}\n  kept: {report.write_log(row, lines)}", flush=True)
            self._leave()  # the next cell does not stand on what this one left
        return row

    def _stand(self, cell: Cell) -> Stand:
        if self.stand is None or self.stand.mode != cell.mode:
            self._leave()
            folder = self.folder / f"{self.name}-{cell.mode}-{time.monotonic_ns()}"
            self.stand = Stand.make(self.lab, cell.mode, f"{cell.mode}{self.name}", folder)
            self.visitors = Visitors(*self.stand.http)
        return self.stand

    def _leave(self) -> None:
        if self.stand is not None:
            self.stand.close()
        self.stand = None


def run(lab: Lab, folder: Path, chosen: list[Cell], known: dict[str, tuple[str, str]]) -> list[Row]:
    """Play the chosen cells but those that are ``known`` to pass; return all in the table's order.

    What is found is written down cell by cell: a run that is cut off can be gone on with.
    """
    rows = {c: Row(c, *known[c.name]) for c in chosen if known.get(c.name, ("",))[0] == "pass"}
    todo: queue.Queue[Cell] = queue.Queue()
    for cell in sorted(chosen, key=lambda cell: cell.mode != "final"):  # the slowest first
        if cell not in rows:
            todo.put(cell)
    lock = threading.Lock()

    def take(row: Row) -> None:
        with lock:
            rows[row.cell] = row
            report.write_json(rows[cell] for cell in chosen if cell in rows)

    players = [Player(lab, folder, str(number), todo, take) for number in range(AT_ONCE)]
    for player in players:
        player.start()
    for player in players:
        player.join()
    return [rows[cell] for cell in chosen]
