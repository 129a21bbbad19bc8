"""Where nodes stand on the canvas: columns from left to right, images in a band below, a frame around each part.

All lengths are canvas units. A node's position is the upper left corner of its body; its title bar is above that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Prompt = dict[str, dict[str, Any]]
Size = tuple[float, float]

TITLE = 30
# Nodes 2.0 draws nodes somewhat taller than the classic canvas; gaps and frames leave room for that.
GAP_X, GAP_Y = 80, 75
FRAME, FRAME_TITLE = 25, 45

PARTS = {
    "UNETLoader": "Models",
    "LoraLoaderModelOnly": "Models",
    "CLIPLoader": "Models",
    "VAELoader": "Models",
    "LongtakeLoadWan22": "Models",
    "LongtakeLoadLtx2": "Models",
    "LongtakeLtx2Sampling": "Models",
    "LongtakeUseLoadedModels": "Models",
    "LongtakeApplyLora": "Models",
    "LoadImage": "Images",
    "LoadVideo": "Images",
    "LoadAudio": "Images",
    "LongtakeKeyframe": "Images",
    "LongtakeAnchor": "Images",
    "LongtakeSoundtrack": "Images",
    "LongtakeBestSize": "Images",
    "LongtakeWanSampling": "Models",
    "LongtakeChainStage": "Stages",
    "LongtakeRenderStoryboard": "Stages",
    "LongtakeRenderStills": "Stages",
    "LongtakeExtendVideo": "Stages",
    "LongtakeRetake": "Stages",
    "LongtakeStitchChain": "Film",
    "LongtakeSeamReport": "Film",
    "LongtakeChainToImages": "Film",
    "LongtakeEncodeVideo": "Film",
}
COLOURS = {"Models": "#3f789e", "Images": "#88A", "Stages": "#8f7a55", "Film": "#8A8"}
SHARED = ("LongtakeLoadWan22", "LongtakeLoadLtx2", "LongtakeUseLoadedModels", "LongtakeWanSampling")


@dataclass(frozen=True)
class Frame:
    """A group of the canvas."""

    title: str
    left: float
    top: float
    width: float
    height: float

    def as_json(self, number: int) -> dict[str, Any]:
        return {
            "id": number,
            "title": self.title,
            "bounding": [self.left, self.top, self.width, self.height],
            "color": COLOURS[self.title],
            "flags": {},
        }


def part_of(node: dict[str, Any]) -> str:
    if node["class_type"] not in PARTS:
        raise LookupError(f"say in which part of the canvas {node['class_type']} stands (tests/browser/layout.py)")
    return PARTS[node["class_type"]]


def consumers(prompt: Prompt) -> dict[str, set[str]]:
    """Node -> the nodes that must stand to the right of it.

    Bundles and settings share a column, so that no link to a stage passes behind one of them.
    """
    after: dict[str, set[str]] = defaultdict(set)
    for name, node in prompt.items():
        for value in node["inputs"].values():
            if isinstance(value, list):
                after[value[0]].add(name)
    shared = [name for name, node in prompt.items() if node["class_type"] in SHARED]
    together = set[str]().union(*(after[name] for name in shared))
    # Every model to the left of every stage: else their frames cross where one joins late.
    stages = {name for name, node in prompt.items() if part_of(node) == "Stages"}
    models = [name for name, node in prompt.items() if part_of(node) == "Models"]
    return after | {name: after[name] | stages for name in models} | {name: together | stages for name in shared}


def columns(prompt: Prompt) -> dict[str, int]:
    """Node -> column, 0 at the left; each stands as far right as what it feeds lets it."""
    after = consumers(prompt)
    steps_to_end: dict[str, int] = {}

    def distance(name: str) -> int:
        if name not in steps_to_end:
            steps_to_end[name] = max((distance(later) + 1 for later in after.get(name, ())), default=0)
        return steps_to_end[name]

    last = max(map(distance, prompt))
    column = {name: last - distance(name) for name in prompt}
    stitched = {column[name] for name, node in prompt.items() if node["class_type"] == "LongtakeStitchChain"}
    # What only looks at a chain stands below what shows it.
    aside = {name: min(stitched) for name, node in prompt.items() if node["class_type"] == "LongtakeSeamReport"}
    return column | aside


def order(prompt: Prompt, column: dict[str, int]) -> list[str]:
    """Node names by column; in a column those fed by others first, in the order of what feeds them."""
    rank: dict[str, tuple[Any, ...]] = {}
    for name in sorted(prompt, key=lambda n: (column[n], int(n))):
        feeders = [v[0] for v in prompt[name]["inputs"].values() if isinstance(v, list) and v[0] in rank]
        rank[name] = (column[name], not feeders, min((int(f) for f in feeders), default=0), int(name))
    return sorted(prompt, key=rank.__getitem__)


def positions(prompt: Prompt, size: dict[str, Size]) -> dict[str, tuple[float, float]]:
    """Node -> position; `size` holds width and height of every body."""
    column = columns(prompt)
    width: dict[int, float] = defaultdict(float)
    for name in prompt:
        width[column[name]] = max(width[column[name]], size[name][0])
    left, edge = {}, 0.0
    for number in sorted(width):
        left[number] = edge
        edge += width[number] + GAP_X

    place: dict[str, tuple[float, float]] = {}
    names = order(prompt, column)
    above = [name for name in names if part_of(prompt[name]) != "Images"]
    images = [name for name in names if part_of(prompt[name]) == "Images"]
    stack(above, 0, column, left, size, place)
    if images:
        ends = [left[column[name]] + reach for name in images for reach in (0, size[name][0])]
        framed = frames({name: prompt[name] for name in above}, size, place)
        over = [f for f in framed if f.left < max(ends) + FRAME and min(ends) - FRAME < f.left + f.width]
        top = max((f.top + f.height for f in over), default=0) + FRAME + FRAME_TITLE + TITLE
        stack(images, top, column, left, size, place)
    return place


def stack(
    names: Sequence[str],
    top: float,
    column: dict[str, int],
    left: dict[int, float],
    size: dict[str, Size],
    place: dict[str, tuple[float, float]],
) -> None:
    """Add the positions of `names` to `place`: one under the other in their columns, beginning at `top`."""
    free: dict[int, float] = defaultdict(lambda: top)
    for name in names:
        number = column[name]
        place[name] = (left[number], free[number])
        free[number] += size[name][1] + GAP_Y


def frames(prompt: Prompt, size: dict[str, Size], place: dict[str, tuple[float, float]]) -> list[Frame]:
    """One frame around the nodes of each part."""
    found = []
    for title in COLOURS:
        inside = [name for name in prompt if part_of(prompt[name]) == title]
        if not inside:
            continue
        left = min(place[n][0] for n in inside) - FRAME
        top = min(place[n][1] for n in inside) - TITLE - FRAME_TITLE
        right = max(place[n][0] + size[n][0] for n in inside) + FRAME
        bottom = max(place[n][1] + size[n][1] for n in inside) + 2 * FRAME
        found.append(Frame(title, left, top, right - left, bottom - top))
    return found
