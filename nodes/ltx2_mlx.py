"""LTX-2 by MLX: a clip rendered by the command ltx-2-mlx, as a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import Input, io

from ..host.progress import now_and_then, say
from ..pipelines.errors import Refusal
from ..pipelines.load.diffusers.folder import folders_below
from ..pipelines.mlx.ltx2_tasks import Passes, Task
from ..pipelines.takes import store
from .seed import seed_input
from .types import STAGE

ANEW, KEPT = "rendered anew", "kept"
FOLDER = "ltx2_mlx"  # of the store
MOST = 2**31 - 1  # what the command draws its own seeds from


def weights_folders() -> dict[str, str]:
    names = ("vae_decoder.safetensors", "connector.safetensors")
    return folders_below(folder_paths.get_folder_paths("diffusers"), names)


def text_folders() -> dict[str, str]:
    return folders_below(folder_paths.get_folder_paths("text_encoders"), ("config.json", "tokenizer.json"))


class RenderLtx2Mlx(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        seconds = io.Float.Input(
            "seconds", default=4.0, min=0.01, max=600.0, step=0.01, tooltip="That the clip lasts, or adds to the video."
        )
        passes = io.Combo.Input(
            "passes",
            options=[passes.value for passes in Passes],
            default=Passes.TWO.value,
            tooltip="Two: at half the size, then enlarged and refined; sides are multiples of 64. One: at full size, "
            "multiples of 32. Distilled: two passes of few steps without guidance, the fastest.",
        )
        context = io.Int.Input(
            "context_frames",
            default=49,
            min=9,
            max=481,
            step=8,
            tooltip="8n+1 frames of the video's end that the clip goes on from.",
        )
        anew = "Seconds of the video; the range is widened to whole latents, eight frames each."
        return io.Schema(
            node_id="LongtakeRenderLtx2Mlx",
            display_name="Render LTX-2 by MLX",
            category=STAGE,
            description="Renders a clip with sound by the command ltx-2-mlx on Apple silicon, or goes on from a video "
            "with it. Nobody has run this half of the pack yet: the command runs on a Mac alone, and this was written "
            "to its published sources.",
            search_aliases=["apple silicon", "mac", "metal", "ltx-2-mlx", "ltx video", "audio to video"],
            is_experimental=True,
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=list(weights_folders()),
                    tooltip="A folder of LTX-2 as converted to MLX, below models/diffusers.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=list(text_folders()),
                    tooltip="A folder of Gemma 3 12B as converted to MLX, below models/text_encoders.",
                ),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, tooltip="What happens in the clip."),
                io.DynamicCombo.Input(
                    "task",
                    options=[
                        io.DynamicCombo.Option(Task.GENERATE.value, [seconds, passes]),
                        io.DynamicCombo.Option(Task.SOUND.value, [seconds]),
                        io.DynamicCombo.Option(Task.LAST_FRAME.value, [seconds, passes]),
                        io.DynamicCombo.Option(Task.END.value, [seconds, context]),
                        io.DynamicCombo.Option(
                            Task.RETAKE.value,
                            [
                                io.Float.Input(
                                    "start_seconds", default=1.0, min=0.0, max=600.0, step=0.01, tooltip=anew
                                ),
                                io.Float.Input("end_seconds", default=2.0, min=0.0, max=600.0, step=0.01, tooltip=anew),
                                io.Combo.Input(
                                    "new_sound",
                                    options=[ANEW, KEPT],
                                    default=ANEW,
                                    tooltip="Whether the sound of these seconds is rendered anew too.",
                                ),
                            ],
                        ),
                    ],
                    tooltip="What is rendered. Going on gives the video and what is added to it. What the installed "
                    "command does not offer is refused.",
                ),
                io.Int.Input(
                    "width", default=704, min=32, max=4096, step=32, tooltip="Pixels; a video is fitted to it."
                ),
                io.Int.Input(
                    "height", default=448, min=32, max=4096, step=32, tooltip="Pixels; a video is fitted to it."
                ),
                io.Int.Input(
                    "frame_rate",
                    default=24,
                    min=1,
                    max=60,
                    tooltip="Frames a second, also of a video that is gone on from. LTX-2.3 was trained at 24.",
                ),
                seed_input(most=MOST),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    advanced=True,
                    tooltip="Of the only or the first pass; 0 leaves them to the command.",
                ),
                io.Float.Input(
                    "cfg",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    advanced=True,
                    tooltip="Guidance; 0 leaves it to the command.",
                ),
                io.Boolean.Input(
                    "low_memory",
                    default=False,
                    advanced=True,
                    tooltip="Reads the model's blocks from the disk as they are needed; slower.",
                ),
                io.Image.Input("image", optional=True, tooltip="The first frame, of a clip from text or to a sound."),
                io.Audio.Input(
                    "sound",
                    optional=True,
                    tooltip="What a clip is rendered to; it is heard as it is, and silence follows where it ends.",
                ),
                io.Video.Input("video", optional=True, tooltip="What is gone on from, or rendered anew in part."),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="With sound. For Encode Video, another node of this kind, or Extend Video and a chain.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> list[str]:
        # A video that ComfyUI still holds may read a clip that is not kept any more.
        return sorted(path.stem for path in _given if not path.exists())

    @classmethod
    def execute(cls, prompt: str, task: dict, width: int, height: int, **inputs: Any) -> io.NodeOutput:
        from ..pipelines.media.video import LazyVideo
        from ..pipelines.mlx.ltx2_clip import check, rendered_clip, shown
        from ..pipelines.mlx.ltx2_command import installed
        from ..pipelines.takes.temp import temp_folder

        clip = _clip(prompt, task, width, height, **inputs)
        command = installed()
        check(clip, command)
        path = rendered_clip(clip, command, kept_clips(), temp_folder(), _told(cls.hidden.unique_id))
        _given.add(path)
        film = shown(clip, path)
        return io.NodeOutput(LazyVideo(film.source, film.sound))


_given: set[Path] = set()  # by this process, as videos


def kept_clips() -> Path:
    return store.here().root / FOLDER


def _clip(
    prompt: str,
    task: Mapping[str, Any],
    width: int,
    height: int,
    weights: str,
    text_encoder: str,
    frame_rate: int,
    seed: int,
    steps: int,
    cfg: float,
    low_memory: bool,
    image: Any = None,
    sound: Any = None,
    video: Input.Video | None = None,
) -> Any:
    from ..pipelines.media.footage import Footage
    from ..pipelines.media.frames import Images
    from ..pipelines.media.retime import Fitted, at_rate
    from ..pipelines.media.sound import Waveform
    from ..pipelines.media.video import frames_and_sound
    from ..pipelines.mlx.ltx2_clip import Clip
    from ..pipelines.timeline.plan import frames_in

    rate = Fraction(frame_rate)
    footage = None
    if video is not None:
        source, heard = frames_and_sound(video)
        footage = Footage(Fitted(at_rate(source, rate), width, height), heard)
    return Clip(
        task=Task(task["task"]),
        weights=_folder(weights_folders(), weights, "weights", "diffusers"),
        text_encoder=_folder(text_folders(), text_encoder, "text_encoder", "text_encoders"),
        prompt=prompt,
        seed=seed,
        width=width,
        height=height,
        frame_rate=rate,
        frames=frames_in(task.get("seconds", 0), rate),
        start=frames_in(task.get("start_seconds", 0), rate),
        stop=frames_in(task.get("end_seconds", 0), rate),
        context=task.get("context_frames", 0),
        new_sound=task.get("new_sound", ANEW) == ANEW,
        passes=Passes(task.get("passes", Passes.TWO)),
        steps=steps,
        cfg=cfg,
        low_memory=low_memory,
        image=None if image is None else Fitted(Images(image[:1, ..., :3], rate), width, height),
        sound=None if sound is None else Waveform(sound),
        video=footage,
    )


def _folder(folders: Mapping[str, str], name: str, field: str, kind: str) -> str:
    if name not in folders:
        raise Refusal(f"there is no {name!r} of MLX below models/{kind}; see docs/apple.md.", field=field)
    return folders[name]


def _told(node_id: str | None) -> Callable[[str], None]:
    """Shows what the command says on the node, a few times a second."""
    due = now_and_then()

    def told(line: str) -> None:
        if due():
            say(node_id, line)

    return told


NODES = [RenderLtx2Mlx]
