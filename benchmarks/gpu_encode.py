"""From a finished latent to a file on a GPU: decoding, keeping and encoding, and whether NVENC is there.

    <a Python with torch and ComfyUI> benchmarks/gpu_encode.py
    ... benchmarks/gpu_encode.py --tiny          a tiny VAE on the CPU: shows that it runs, measures nothing

The VAEs have their published sizes and random weights, so the pictures are noise and the files larger than of a film;
the encoder's time is an upper bound. Beside it: VAEDecode and core's own saving of an IMAGE batch. Writes
benchmarks/results/gpu_encode.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"480p": (832, 480), "720p": (1280, 704)}
FRAMES, FPS = 81, Fraction(16)
NVENC = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")


def name_packages() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.run import name_packages

    sys.path.pop(0)  # the repository has a folder `nodes`, and so has ComfyUI
    name_packages()


def nvenc(name: str) -> str:
    """What opening one of FFmpeg's NVENC encoders comes to; being listed says nothing."""
    import av

    try:
        codec = av.CodecContext.create(name, "w")
        codec.width, codec.height, codec.pix_fmt, codec.time_base = 256, 256, "yuv420p", 1 / FPS
        codec.open()
    except (av.error.FFmpegError, ValueError, OSError) as error:
        return f"cannot be used ({error})"
    return "works"


def nvenc_seconds(clip: np.ndarray, path: Path, name: str) -> float:
    """Seconds that an NVENC encoder takes for a clip `[T, H, W, 3]` uint16, converted as Longtake converts."""
    import av
    from longtake.pipelines.media.frames import to_uint8
    from longtake.pipelines.media.pixels import to_pixels

    started = time.perf_counter()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(name, rate=FPS, options={"preset": "p5", "rc": "vbr", "cq": "18"})
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], "yuv420p"
        convert = to_pixels("yuv420p")
        for index, picture in enumerate(clip):
            frame = convert(to_uint8(picture))
            frame.pts, frame.time_base = index, 1 / FPS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return time.perf_counter() - started


class Clip:
    """A decoded clip as a source of frames."""

    frame_rate = FPS

    def __init__(self, clip: np.ndarray):
        self._clip = clip
        self.frame_count, self.height, self.width, _ = clip.shape

    def frames(self, start: int = 0, stop: int | None = None) -> Any:
        yield from self._clip[start:stop]


def timed(work: Any) -> tuple[float, Any]:
    from tests.gpu.device import finish_gpu_work

    finish_gpu_work()
    started = time.perf_counter()
    result = work()
    finish_gpu_work()
    return time.perf_counter() - started, result


def measure(vae: Any, latent: Any, folder: Path, usable: list[str]) -> dict[str, float]:
    """Seconds of each part, for one clip."""
    from comfy_api.latest import InputImpl, Types
    from longtake.pipelines.media.encode import encode
    from longtake.pipelines.media.frames import from_float

    def decode() -> Any:
        return vae.decode(latent)[0]

    def quantised(pixels: Any) -> np.ndarray:
        clip = np.lib.format.open_memmap(folder / "clip.npy", "w+", np.uint16, tuple(pixels.shape))
        for index in range(len(pixels)):
            clip[index] = from_float(pixels[index].float().cpu().numpy())
        return clip

    def save_stock(pixels: Any) -> None:
        video = InputImpl.VideoFromComponents(Types.VideoComponents(images=pixels, frame_rate=FPS))
        video.save_to(str(folder / "stock.mp4"))

    decode()  # the first one picks kernels
    decoding, pixels = timed(decode)
    keeping, clip = timed(lambda: quantised(pixels))
    encoding, _ = timed(lambda: encode(Clip(clip), folder / "ours.mp4"))
    saving, _ = timed(lambda: save_stock(pixels))
    row = {"decode": decoding, "keep": keeping, "encode": encoding, "stock save": saving}
    for name in usable:
        row[name] = nvenc_seconds(clip, folder / f"{name}.mp4", name)
    return row


def report(rows: dict[str, dict[str, float]], encoders: dict[str, str], machine: str) -> str:
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    lines = [
        "# From latent to file on a GPU",
        "",
        f"Written by benchmarks/gpu_encode.py: {FRAMES} frames, VAEs of the published sizes with random weights, H.264 "
        "medium crf 18. Seconds.",
        "",
        f"| clip | {' | '.join(parts)} | decode to file, ours | stock | ours / stock |",
        f"|---|{'--:|' * (len(parts) + 3)}",
    ]
    for name, row in rows.items():
        ours, stock = row["decode"] + row["keep"] + row["encode"], row["decode"] + row["stock save"]
        cells = " | ".join(f"{row[part]:.2f}" if part in row else "" for part in parts)
        lines.append(f"| {name} | {cells} | {ours:.2f} | {stock:.2f} | {ours / stock:.2f} |")
    lines += ["", *(f"- {name} {outcome}." for name, outcome in encoders.items()), ""]
    return "\n".join([*lines, f"Machine: {machine}, {os.cpu_count()} CPU cores.", ""])


def main(arguments: list[str] | None = None) -> int:
    from tests.gpu import device, models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="folder for the results; benchmarks/results, or build for --tiny")
    parser.add_argument("--tiny", action="store_true", help="a tiny VAE on the CPU")
    options = parser.parse_args(arguments)
    import torch

    rows = {}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        device.enter(device.Memory.CPU if options.tiny else device.Memory.PLAIN, folder)
        encoders = {encoder: nvenc(encoder) for encoder in NVENC}
        print(encoders, flush=True)
        usable = [encoder for encoder, outcome in encoders.items() if outcome == "works"]
        for variant, channels, scale in (("i2v-14b", 16, 8), ("ti2v-5b", 48, 16)):
            vae = models.vae(models.TINY if options.tiny else models.PUBLISHED, variant, seed=3)
            for size, (width, height) in ({"tiny": (64, 64)} if options.tiny else SIZES).items():
                latent = torch.randn(1, channels, (FRAMES - 1) // 4 + 1, height // scale, width // scale)
                label = f"{'Wan 2.1' if channels == 16 else 'Wan 2.2'} VAE, {size}"
                rows[label] = measure(vae, latent, folder, usable)
                print(label, rows[label], flush=True)
        text = report(rows, encoders, device.describe())
    results = options.results or ROOT / ("build" if options.tiny else "benchmarks/results")
    results.mkdir(parents=True, exist_ok=True)
    (results / "gpu_encode.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    name_packages()
    sys.exit(main())
