"""A closed world of one moving shape: clips, the prompts that describe them, and what can be measured in a clip.

The picture is a torus: what leaves on one side comes in on the other, so that a motion can go on for ever. Everything
is drawn from a torch generator, and a clip is known by numbers alone, so that its truth can be painted again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

import torch
from torch import Tensor

SIZE = 64
COLOURS = {
    "red": (0.90, 0.12, 0.12),
    "orange": (0.98, 0.55, 0.05),
    "yellow": (0.95, 0.92, 0.15),
    "green": (0.15, 0.75, 0.20),
    "cyan": (0.15, 0.85, 0.88),
    "blue": (0.15, 0.25, 0.95),
    "purple": (0.55, 0.18, 0.85),
    "pink": (0.98, 0.50, 0.75),
}
SHAPES = ("circle", "square", "triangle")
GROUNDS = {"black": (0.06, 0.06, 0.06), "gray": (0.42, 0.42, 0.42), "white": (0.95, 0.95, 0.95)}
MOTIONS = {"right": (1.0, 0.0), "left": (-1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0), "nowhere": (0.0, 0.0)}
COLOUR_NAMES, GROUND_NAMES, MOTION_NAMES = tuple(COLOURS), tuple(GROUNDS), tuple(MOTIONS)
STILL = MOTION_NAMES.index("nowhere")

EDGE = 1.6  # half the pixels over which an edge runs from 12 % to 88 %
RADIUS = (10.0, 14.0)  # pixels
SPEEDS = (1.0, 2.0)  # pixels a frame: half a latent or a whole one in a slot, so that a small model can tell them apart
STANDS = 0.25  # pixels a frame below which a shape counts as standing


@dataclass(frozen=True)
class Scene:
    """What a prompt says, as indices into the names above."""

    colour: int
    shape: int
    motion: int
    ground: int

    @property
    def prompt(self) -> str:
        name = MOTION_NAMES[self.motion]
        verb = "stays" if self.motion == STILL else f"moves {name}"
        return f"a {COLOUR_NAMES[self.colour]} {SHAPES[self.shape]} {verb} on {GROUND_NAMES[self.ground]}"

    @property
    def held_out(self) -> bool:
        """Whether training never sees this combination: one in seven."""
        return (self.colour + 2 * self.shape + 3 * self.motion + self.ground) % 7 == 0


SCENES = tuple(
    Scene(*indices) for indices in product(*(range(len(names)) for names in (COLOURS, SHAPES, MOTIONS, GROUNDS)))
)


@dataclass(frozen=True)
class Clips:
    """A batch of clips by what is in them; every field has one entry a clip."""

    scene: Tensor  # index into SCENES, as the prompt has it
    before: Tensor  # motion until the turn
    turn: Tensor  # first frame that moves as the prompt says
    speed: Tensor  # pixels a frame
    radius: Tensor  # pixels
    start: Tensor  # centre in frame 0: (clips, 2), x and y

    def __len__(self) -> int:
        return len(self.scene)

    def __getitem__(self, chosen: Tensor) -> Clips:
        return Clips(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def each(self, name: str) -> Tensor:
        """One index of the scenes: `colour`, `shape`, `motion` or `ground`."""
        return torch.tensor([getattr(scene, name) for scene in SCENES])[self.scene]

    def prompts(self) -> list[str]:
        return [SCENES[index].prompt for index in self.scene.tolist()]

    def centres(self, frames: int) -> Tensor:
        """Centre of the shape in every frame, not wrapped: (clips, frames, 2)."""
        directions = torch.tensor(list(MOTIONS.values()))
        time = torch.arange(frames)[None]
        first = torch.minimum(time, (self.turn - 1).clamp(min=0)[:, None])
        steps = first[..., None] * directions[self.before][:, None]
        steps = steps + (time - first)[..., None] * directions[self.each("motion")][:, None]
        return self.start[:, None] + steps * self.speed[:, None, None]

    def pixels(self, frames: int) -> Tensor:
        """(clips, 3, frames, SIZE, SIZE) in -1..1."""
        front = torch.tensor(list(COLOURS.values()))[self.each("colour")] * 2 - 1
        back = torch.tensor(list(GROUNDS.values()))[self.each("ground")] * 2 - 1
        cover = coverage(self.each("shape"), self.radius, self.centres(frames))[:, None]
        return back[..., None, None, None] + (front - back)[..., None, None, None] * cover


def draw(count: int, generator: torch.Generator, turns: tuple[int, ...] = (0,), turning: float = 0.0) -> Clips:
    """Clips drawn at random.

    Args:
        turns: frames one of which is that from which a clip moves as its prompt says.
        turning: share of the clips that move otherwise before it, as far as it is not frame 0.
    """

    def pick(n: int) -> Tensor:
        return torch.randint(n, (count,), generator=generator)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    scene = pick(len(SCENES))
    motion = torch.tensor([s.motion for s in SCENES])[scene]
    turn = torch.tensor(turns)[pick(len(turns))]
    turned = (torch.rand(count, generator=generator) < turning) & (turn > 1)
    return Clips(
        scene=scene,
        before=torch.where(turned, pick(len(MOTIONS)), motion),
        turn=turn,
        speed=torch.tensor(SPEEDS)[pick(len(SPEEDS))],
        radius=between(*RADIUS),
        start=SIZE * torch.rand(count, 2, generator=generator),
    )


def coverage(shape: Tensor, radius: Tensor, centres: Tensor) -> Tensor:
    """How much of each pixel the shape covers, with soft edges: (clips, frames, SIZE, SIZE)."""
    grid = torch.arange(SIZE) + 0.5
    half = SIZE / 2
    x = ((grid - centres[..., :1] + half) % SIZE - half)[:, :, None, :]
    y = ((grid - centres[..., 1:] + half) % SIZE - half)[:, :, :, None]
    distance = torch.empty(*centres.shape[:2], SIZE, SIZE)
    for kind, outline in enumerate((_circle, _square, _triangle)):
        chosen = shape == kind
        distance[chosen] = outline(x[chosen], y[chosen], radius[chosen][:, None, None, None])
    return torch.sigmoid(distance * (-2.0 / EDGE))


def _circle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (x * x + y * y).sqrt() - radius


def _square(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.86 * radius


def _triangle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Three half planes, the lowest side flat."""
    return torch.maximum(3**0.5 / 2 * x.abs() - 0.5 * y, y) - 0.62 * radius
