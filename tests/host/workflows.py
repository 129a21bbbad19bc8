"""The shipped workflows as API prompts, and what they need to run on tiny models."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from tests.host.place import ROOT
from tests.tiny.photos import put_photos

API = ROOT / "workflows" / "api"
NOTES = ROOT / "workflows" / "notes"
INPUTS = ROOT / "workflows" / "inputs"
# Every size a Wan 2.2 variant takes is a multiple of this.
SIZE_STEP = 32


def api_names() -> list[str]:
    """Names of the shipped API workflows."""
    return sorted(path.stem for path in API.glob("*.json"))


def note_of(name: str) -> str:
    """What the canvas file of an API workflow says on its note, Markdown; its first line is the title of the file."""
    return (NOTES / f"{name}.md").read_text(encoding="utf-8")


def title_of(name: str) -> str:
    """Name of the canvas file of an API workflow: all that ComfyUI's list of templates shows of a pack's."""
    return note_of(name).partition("\n")[0].removeprefix("# ")


def canvas_file(name: str) -> Path:
    """The file that the canvas loads of an API workflow."""
    return ROOT / "workflows" / f"{title_of(name)}.json"


def api_prompt(name: str) -> dict[str, dict[str, Any]]:
    """Read workflows/api/NAME.json; raises SystemExit naming what there is."""
    path = API / f"{name}.json"
    if not path.is_file():
        raise SystemExit(f"there is no {path}; there is: {', '.join(api_names()) or 'nothing yet'}")
    return json.loads(path.read_text(encoding="utf-8"))


def shrink(prompt: dict[str, dict[str, Any]], divisor: int = 4) -> dict[str, dict[str, Any]]:
    """Return `prompt` with every width and height divided, on the grid: a CPU takes minutes at full size.

    Storyboards written as JSON into a node are shrunk alike.
    """
    small = copy.deepcopy(prompt)
    for node in small.values():
        shrink_sizes(node["inputs"], divisor)
        for name, value in node["inputs"].items():
            if isinstance(value, str) and value.lstrip().startswith("{"):
                document = json.loads(value)
                for part in (document, document.get("defaults", {}), *document.get("stages", ())):
                    shrink_sizes(part, divisor)
                node["inputs"][name] = json.dumps(document, ensure_ascii=False)
    return small


def shrink_sizes(entries: dict[str, Any], divisor: int) -> None:
    for side in ("width", "height", "size.width", "size.height"):
        if isinstance(length := entries.get(side), int):
            entries[side] = max(2, round(length / divisor / SIZE_STEP)) * SIZE_STEP


def put_film(path: Path, photo: Path) -> None:
    """Two seconds at 25 frames a second: a photograph that brightens, under a tone of 330 Hz."""
    import av
    import numpy as np
    from PIL import Image

    picture = np.asarray(Image.open(photo).convert("RGB").resize((192, 128)))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 192, 128, "yuv420p"
        audio = container.add_stream("aac", rate=48000, layout="stereo")
        for number in range(50):
            bright = (picture * (0.5 + number / 100)).astype(np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(bright, format="rgb24")))
        container.mux(video.encode(None))
        heard = av.AudioFrame.from_ndarray(tone(330, 2, 48000), format="fltp", layout="stereo")
        heard.sample_rate = 48000
        container.mux(audio.encode(heard))
        container.mux(audio.encode(None))


def put_sound(path: Path) -> None:
    """Twelve seconds of a tone of 220 Hz, stereo, 16 bits."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 24000, 0, "NONE", ""))
        file.writeframes((tone(220, 12, 24000).T * 32767).astype("<i2").tobytes())


def tone(hertz: float, seconds: int, rate: int) -> Any:
    """A quiet sine `[2, samples]` float32."""
    import numpy as np

    return np.tile(0.2 * np.sin(2 * np.pi * hertz * np.arange(seconds * rate) / rate), (2, 1)).astype(np.float32)


def put_inputs(folder: Path) -> None:
    """Put the images that the workflows name into ComfyUI's input folder, photographs among them.

    ComfyUI brings an example.png of its own, a drawing; here a photograph stands in for it.
    """
    photos = put_photos(folder)
    shutil.copyfile(photos["astronaut"], folder / "example.png")
    put_film(folder / "example.mp4", photos["coffee"])
    put_sound(folder / "example.wav")
    if INPUTS.is_dir():
        shutil.copytree(INPUTS, folder, dirs_exist_ok=True)
