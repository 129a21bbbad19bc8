"""What is said while a film renders: a bar for each scene and one for the film, or lines where there is no terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from .scenes import Scene
from .worker import DELIVERY

Event = Mapping[str, Any]


class Progress:
    """Listens to a film; `close` takes its bars away.

    Args:
        to: a terminal gets bars, anything else a line for what begins and ends.
        name: stands before each line, where there are many films, and then there are no bars.
    """

    def __init__(self, to: TextIO = sys.stderr, name: str = ""):
        self._to, self._bars_wanted, self._name = to, to.isatty() and not name, name
        self._bars: dict[str, Any] = {}
        self._scenes: dict[str, Scene] = {}
        self._lock = threading.Lock()  # events come on a thread of Dask's

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._hear(event)

    def close(self) -> None:
        with self._lock:
            for bar in self._bars.values():
                bar.close()
            self._bars.clear()

    def _hear(self, event: Event) -> None:
        kind, scene, server = event["event"], event.get("scene", ""), event.get("server", "")
        if kind == "planned":
            self._planned(event)
        elif kind == "up":
            self._say(f"{server} is ready")
        elif kind == "started":
            self._say(f"{_called(scene)}: on {server}")
            self._bar(scene)
        elif kind == "longtake.step":
            self._at(scene, event, event["step"] / max(1, event["steps"]))
        elif kind in ("longtake.stage_done", "longtake.stored_hit"):
            self._at(scene, event, 1.0)
        elif kind == "longtake.encoding":
            self._set(scene, event["frame"] / max(1, event["frames"]))
        elif kind == "finished":
            self._set(scene, 1.0)
            self._say(f"{_called(scene)}: done in {event['seconds']:.1f} s on {server}")
        elif kind in ("gone", "unfit", "failed"):
            self._say(event["why"])

    def _planned(self, event: Event) -> None:
        self._scenes = {scene.stages: scene for scene in event["scenes"]}
        stages = event["plan"]["stages"]
        new = sum(len(scene.numbers) for scene in event["scenes"])
        self._say(f"{len(stages)} stages, {len(stages) - new} of them stored; {len(self._scenes)} scenes to render")
        if self._bars_wanted and self._scenes:
            self._bars[""] = self._new_bar("film", sum(scene.frames for scene in self._scenes.values()))

    def _at(self, scene: str, event: Event, of_stage: float) -> None:
        """A stage of a scene is rendered to a part. Stages count from 1 over the whole film."""
        planned = self._scenes.get(scene)
        if planned is None or event["stage"] not in planned.numbers:
            return
        self._set(scene, (planned.numbers.index(event["stage"]) + of_stage) / len(planned.numbers))

    def _set(self, scene: str, part: float) -> None:
        bar = self._bars.get(scene)
        if bar is None:
            return
        bar.n = max(bar.n, min(bar.total, round(part * bar.total)))
        bar.refresh()
        film = self._bars.get("")
        if film is not None:
            film.n = sum(each.n for name, each in self._bars.items() if name in self._scenes)
            film.refresh()

    def _bar(self, scene: str) -> None:
        if self._bars_wanted and scene not in self._bars:
            frames = self._scenes[scene].frames if scene in self._scenes else 100
            self._bars[scene] = self._new_bar(_called(scene), frames)

    def _new_bar(self, name: str, total: int) -> Any:
        from tqdm import tqdm

        form = "{desc:<16} {bar} {percentage:3.0f}% {elapsed}, {remaining} left"
        return tqdm(total=total, desc=name, bar_format=form, position=len(self._bars), file=self._to, leave=True)

    def _say(self, line: str) -> None:
        line = f"{self._name}: {line}" if self._name else line
        if self._bars_wanted:
            from tqdm import tqdm

            tqdm.write(line, file=self._to)
        else:
            print(line, file=self._to, flush=True)


def _called(scene: str) -> str:
    return "the film" if scene == DELIVERY else f"stages {scene}"
