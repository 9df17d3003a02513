"""Bars of a pull or push on a terminal: a line for each layer, drawn by rich."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

_NARROW = 72
_DONE = ("Pull complete", "Already exists", "Pushed", "Layer already exists")
#: Lines that the terminal keeps for what is not a layer.
_KEPT = 4


class Bars:
    """Shows messages of the engine on the terminal ``fd``. Use as a context manager."""

    def __init__(self, fd: int) -> None:
        self._file: TextIO = os.fdopen(os.dup(fd), "w", encoding="utf-8", errors="replace")
        self.console = Console(file=self._file, highlight=False, markup=False, soft_wrap=True)
        self.progress = Progress(*self._columns(), console=self.console, refresh_per_second=8)
        self._tasks: dict[str, TaskID] = {}

    def _columns(self) -> list[ProgressColumn]:
        columns: list[ProgressColumn] = [
            TextColumn("{task.fields[layer]}", markup=False),
            TextColumn("{task.description}", markup=False),
        ]
        if self.console.width >= _NARROW:
            return [*columns, BarColumn(bar_width=None), DownloadColumn(), _Speed()]
        return [*columns, _Percent()]

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        self._file.close()

    def show(self, message: dict[str, Any]) -> None:
        """One message of the engine."""
        status, layer = message.get("status"), message.get("id")
        if not isinstance(status, str):
            return
        if not layer or "progressDetail" not in message:
            self.progress.console.print(Text(f"{layer}: {status}" if layer else status))
            return
        detail = message["progressDetail"] or {}
        task = self._tasks.get(layer)
        if task is None:
            task = self._tasks[layer] = self.progress.add_task("", total=None, layer=layer)
        if status in _DONE or status.startswith("Mounted"):
            self._finish(task, status)
        elif detail.get("total"):
            self.progress.update(task, description=status, completed=detail.get("current", 0), total=detail["total"])
        elif detail.get("current"):
            self.progress.update(task, description=status, completed=detail["current"])
        else:
            self.progress.update(task, description=status)

    def _finish(self, task: TaskID, status: str) -> None:
        """A layer is done; where there are more layers than lines, the done ones make room."""
        known = self.progress.tasks[self.progress.task_ids.index(task)]
        total = known.total or known.completed or 1
        self.progress.update(task, description=status, completed=total, total=total)
        if len([one for one in self.progress.tasks if one.visible]) > self.console.height - _KEPT:
            self.progress.update(task, visible=False)


class _Speed(TransferSpeedColumn):
    """The rate, of what is under way."""

    def render(self, task: Any) -> Text:
        return Text("") if task.finished else super().render(task)


class _Percent(ProgressColumn):
    """How much of it, on a narrow terminal."""

    def render(self, task: Any) -> Text:
        return Text("" if task.total is None else f"{task.percentage:3.0f}%")
