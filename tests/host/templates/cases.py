"""ComfyUI's eight templates for Wan 2.2 and LTX-2.3, each beside the same film of this pack's nodes.

Of a template its sizes, its length and its files are changed; in LTX-2.3 also the frame rate, the seed of the second
pass, which here is that of the first, and the rewriting of the prompt by a language model, which is off. Steps,
guidance, shift, samplers, sigmas, strengths and LoRAs are its own, and are written out here once more for the pack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.host import graphs
from tests.host.stock import Graph, node

from .template import ObjectInfo, Template

WAN_SIZE = {"width": 96, "height": 64}
LTX_SIZE = {"width": 192, "height": 128}
POSITIVE, NEGATIVE = "CLIP Text Encode (Positive Prompt)", "CLIP Text Encode (Negative Prompt)"
PICTURES = {"first": "astronaut", "last": "chelsea"}
IMAGE_INPUTS = {"first": "start_image", "last": "end_image"}
SOUND, SOUND_RATE = "template_sound.wav", 44100
UNCROPPED = 11 * 4096 / SOUND_RATE  # seconds of which ComfyUI's audio VAE, which takes whole blocks, drops nothing
SEED = 42  # of the templates' second pass; this pack draws both passes from one


@dataclass(frozen=True)
class Photo:
    """How the photographs of a case come to both films.

    Args:
        sized: whether they have the stage's size.
        scaled: the method of ComfyUI's Upscale Image that brings those of the pack's film to it first; "" is none, then
            the pack scales them.
    """

    sized: bool = True
    scaled: str = ""

    def file(self, place: str, size: Mapping[str, int]) -> str:
        return sized_picture(place, size) if self.sized else f"{PICTURES[place]}.png"

    def nodes(self, size: Mapping[str, int], *places: str) -> Graph:
        """The nodes of the pack's film that give its photographs, each called by its place."""
        given = {}
        for place in places:
            given[place] = node("LoadImage", image=self.file(place, size))
            if self.scaled:
                given[f"{place}_file"] = given[place]
                scaling = {"upscale_method": self.scaled, "crop": "center", **size}
                given[place] = node("ImageScale", image=[f"{place}_file", 0], **scaling)
        return given


SIZED, OTHER = Photo(), Photo(sized=False)
BILINEAR, NEAREST = Photo(sized=False, scaled="bilinear"), Photo(sized=False, scaled="nearest-exact")


@dataclass(frozen=True)
class Case:
    """One template, and what is compared.

    Args:
        title: as the table says it.
        template: as ComfyUI calls it.
        build: changes the template in place and returns the pack's graph, whose last stage is the node `stage`.
        same: whether both films must be the same; otherwise they cannot be, and by how much is written down.
    """

    title: str
    template: str
    build: Callable[[Template], Graph]
    same: bool = True

    @property
    def sound(self) -> bool:
        return "ltx2" in self.template

    @property
    def decoder(self) -> str:
        """The node of the template that decodes its picture."""
        return "VAEDecodeTiled" if self.sound else "VAEDecode"

    def graph(self, object_info: ObjectInfo) -> Compared:
        """Both films as one prompt."""
        template = Template.of(self.template, object_info)
        ours = self.build(template)
        ours["latents"] = node("LongtakeChainToLatent", chain=["stage", 0], stage=0)
        ours["images"] = node("LongtakeChainToImages", chain=["stage", 0], first_frame=0, frame_count=0)
        pairs = {
            "latent": (["latents", 0], template.source(self.decoder, "samples")),
            "frames": (["images", 0], template.source("CreateVideo", "images")),
        }
        if self.sound:
            ours["film"] = node("LongtakeStitchChain", chain=["stage", 0])
            ours["parts"] = node("GetVideoComponents", video=["film", 0])
            pairs["sound_latent"] = (["latents", 1], template.source("LTXVAudioVAEDecode", "samples"))
            pairs["sound"] = (["parts", 1], template.source("CreateVideo", "audio"))
        return Compared({**ours, **template.leading_to(*(theirs for _, theirs in pairs.values()))}, pairs)


@dataclass(frozen=True)
class Compared:
    """A prompt that holds both films, and the outputs of each that are held against each other, ours first."""

    graph: Graph
    pairs: dict[str, tuple[list[Any], list[Any]]] = field(default_factory=dict)


def put_case_inputs(folder: Path) -> None:
    """Photographs of exactly a stage's size, and a sound, into ComfyUI's input folder."""
    from PIL import Image

    from tests.tiny.photos import put_photos

    photos = put_photos(folder)
    for size in (WAN_SIZE, LTX_SIZE):
        for place, photo in PICTURES.items():
            small = Image.open(photos[photo]).convert("RGB").resize((size["width"], size["height"]))
            small.save(folder / sized_picture(place, size))
    put_sound(folder / SOUND)


def sized_picture(place: str, size: Mapping[str, int]) -> str:
    return f"template_{place}_{size['width']}x{size['height']}.png"


def put_sound(path: Path) -> None:
    """Two seconds, stereo, at the rate that ComfyUI's audio VAE takes: a tone that falls silent before second 0.9."""
    import wave

    import numpy as np

    seconds = np.arange(2 * SOUND_RATE) / SOUND_RATE
    tone = 0.3 * np.sin(2 * np.pi * (220 + 440 * seconds) * seconds) * np.clip(9 - 10 * seconds, 0, 1)
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, SOUND_RATE, 0, "NONE", ""))
        file.writeframes(np.repeat((tone * 32767).round().astype("<i2"), 2).tobytes())


def wan_t2v(template: Template, fast: bool) -> Graph:
    template.set("EmptyHunyuanLatentVideo", **WAN_SIZE)
    template.set("PrimitiveFloat", "Float (Duration)", value=1)
    template.set("PrimitiveBoolean", "Enable Lightning LoRA", value=fast)
    lightning = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"
    return {**wan_t_or_i("t2v", lightning, fast), "stage": wan_stage(template)}


def wan_i2v(template: Template, fast: bool = False, photo: Photo = SIZED) -> Graph:
    template.set("WanImageToVideo", **WAN_SIZE)
    template.set("PrimitiveFloat", "Float (Duration)", value=1)
    template.set("PrimitiveBoolean", "Enable 4steps LoRA?", value=fast)
    template.set("LoadImage", image=photo.file("first", WAN_SIZE))
    lightning = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
    return {
        **wan_t_or_i("i2v", lightning, fast),
        **photo.nodes(WAN_SIZE, "first"),
        "stage": wan_stage(template, start_image=["first", 0]),
    }


def wan_t_or_i(kind: str, lightning: str, fast: bool) -> Graph:
    """Models and settings of the two templates that can be switched to four steps with a LoRA on each expert."""
    lora = node(
        "LongtakeApplyLora",
        model=["files", 0],
        high_noise_lora=lightning if fast else "none",
        strength_high=1.0,
        low_noise_lora="auto",
        strength_low=1.0,
    )
    steps, split, cfg = (4, 2, 1.0) if fast else (20, 10, 3.5)
    return {"files": graphs.load(kind), "model": lora, "sampling": wan_sampling(steps, split, cfg, shift=5.0)}


def wan_flf2v(template: Template, photo: Photo = SIZED) -> Graph:
    template.set("WanFirstLastFrameToVideo", **WAN_SIZE, length=17)
    for place in PICTURES:
        image, _ = template.value("WanFirstLastFrameToVideo", IMAGE_INPUTS[place])
        template.graph[image]["inputs"]["image"] = photo.file(place, WAN_SIZE)
    return {
        "model": graphs.load("i2v"),
        "sampling": wan_sampling(20, 10, cfg=4.0, shift=8.0),
        **photo.nodes(WAN_SIZE, *PICTURES),
        "stage": wan_stage(template, **{IMAGE_INPUTS[place]: [place, 0] for place in PICTURES}),
    }


def wan_5b(template: Template, photo: Photo | None = None) -> Graph:
    template.set("Wan22ImageToVideoLatent", **WAN_SIZE, length=17)
    images, nodes = {}, {}
    if photo is not None:  # as when its bypassed Load Image is switched on
        images, nodes = {"start_image": ["first", 0]}, photo.nodes(WAN_SIZE, "first")
        template.graph["photo"] = node("LoadImage", image=photo.file("first", WAN_SIZE))
        template.graph[template.one("Wan22ImageToVideoLatent")]["inputs"]["start_image"] = ["photo", 0]
    return {
        **nodes,
        "model": graphs.load("ti2v"),
        "sampling": graphs.sampling(steps=20, cfg_high=5.0, shift=8.0, sampler="uni_pc", expert_split="single model"),
        "stage": wan_stage(template, **images),
    }


def wan_sampling(steps: int, split: int, cfg: float, shift: float) -> dict[str, Any]:
    split_at = {"expert_split.split_step": split}
    return graphs.sampling(steps=steps, cfg_high=cfg, cfg_low=cfg, shift=shift, **split_at)


def wan_stage(template: Template, **images: Any) -> dict[str, Any]:
    seeds = [
        node["inputs"].get("noise_seed", node["inputs"].get("seed"))
        for node in template.graph.values()
        if node["class_type"].startswith("KSampler") and node["inputs"].get("add_noise", "enable") == "enable"
    ]
    [seed] = seeds
    return graphs.stage(
        prompt=template.value("CLIPTextEncode", "text", POSITIVE),
        negative_prompt=template.value("CLIPTextEncode", "text", NEGATIVE),
        seed=seed,
        **WAN_SIZE,
        **images,
    )


def ltx_i2v(template: Template, photo: Photo = SIZED) -> Graph:
    template.set("LoadImage", image=photo.file("first", LTX_SIZE))
    return {**photo.nodes(LTX_SIZE, "first"), **ltx_two_passes(template, start_image=["first", 0])}


def ltx_ia2v(template: Template, seconds: float) -> Graph:
    template.set("LoadImage", image=SIZED.file("first", LTX_SIZE))
    template.set("LoadAudio", audio=SOUND)
    given = {"start_image": ["first", 0], "guides": ["soundtrack"]}
    return {
        **SIZED.nodes(LTX_SIZE, "first"),
        "heard": node("LoadAudio", audio=SOUND),
        "soundtrack": node("LongtakeSoundtrack", audio=["heard", 0]),
        **ltx_two_passes(template, duration=("PrimitiveFloat", seconds), **given),
    }


def ltx_two_passes(template: Template, duration: tuple[str, float] = ("PrimitiveInt", 1), **given: Any) -> Graph:
    """The dev model with the distilled LoRA at a half: eight steps at half the size, three at the whole."""
    kind, seconds = duration
    template.set(kind, "Duration", value=seconds)
    template.set("PrimitiveInt", "Frame Rate", value=24)
    template.set("PrimitiveInt", "Width", value=LTX_SIZE["width"])
    template.set("PrimitiveInt", "Height", value=LTX_SIZE["height"])
    template.set("ResizeImagesByLongerEdge", longer_edge=LTX_SIZE["width"])
    template.set("PrimitiveBoolean", "Boolean (Enable Prompt Enhance)", value=False)
    for one in template.all("RandomNoise"):
        template.graph[one]["inputs"]["noise_seed"] = SEED
    return {
        "files": graphs.load_ltx2(
            "ltx-2.3-22b-dev-fp8.safetensors", latent_upscaler="ltx-2.3-spatial-upscaler-x2-1.1.safetensors"
        ),
        "model": node(
            "LongtakeApplyLora",
            model=["files", 0],
            high_noise_lora="ltx_2.3_22b_distilled_1.1_lora_dynamic_fro09_avg_rank_111_bf16.safetensors",
            strength_high=0.5,
            low_noise_lora="auto",
            strength_low=1.0,
        ),
        "sampling": ltx_sampling(
            crf=18,
            image_strength=0.7,
            second_pass="sigmas",  # noqa: S106
            **{"second_pass.second_sigmas": "0.85, 0.7250, 0.4219, 0.0"},
        ),
        "stage": graphs.ltx2_stage(
            prompt=template.value("PrimitiveStringMultiline", "value", "Prompt"),
            negative_prompt=negative_of(template),
            seed=SEED,
            **LTX_SIZE,
            sampling=["sampling", 0],
            **given,
        ),
    }


def ltx_flf2v(template: Template, photo: Photo = SIZED) -> Graph:
    """The distilled model in one pass; both images are guides, which keyframes are in this pack."""
    template.set("PrimitiveInt", "Duration", value=1)
    template.set("PrimitiveInt", "Frame Rate(int)", value=24)
    template.set("PrimitiveInt", "Width", value=LTX_SIZE["width"])
    template.set("PrimitiveInt", "height", value=LTX_SIZE["height"])
    template.set("LoadImage", "Load First Frame", image=photo.file("first", LTX_SIZE))
    template.set("LoadImage", "Load Last Frame", image=photo.file("last", LTX_SIZE))
    [prompt] = {template.graph[one]["inputs"]["text"] for one in template.all("CLIPTextEncode")} - {
        negative_of(template)
    }
    return {
        "model": graphs.load_ltx2("ltx-2.3-22b-distilled-fp8.safetensors"),
        "sampling": ltx_sampling(crf=25, image_strength=1.0, second_pass="off"),  # noqa: S106
        **photo.nodes(LTX_SIZE, *PICTURES),
        "start": node("LongtakeKeyframe", image=["first", 0], frame=0, strength=0.7),
        "end": node("LongtakeKeyframe", image=["last", 0], frame=-1, strength=0.7),
        "stage": graphs.ltx2_stage(
            prompt=prompt,
            negative_prompt=negative_of(template),
            seed=template.value("RandomNoise", "noise_seed"),
            **LTX_SIZE,
            sampling=["sampling", 0],
            guides=["start", "end"],
        ),
    }


def ltx_sampling(crf: int, **values: Any) -> dict[str, Any]:
    sigmas = "1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0"
    return node(
        "LongtakeLtx2Sampling",
        schedule="sigmas",
        guidance="off",
        sampler="euler",
        image_compression="own",
        **{"schedule.sigmas": sigmas, "image_compression.crf": crf},
        **values,
    )


def negative_of(template: Template) -> str:
    encoder, _ = template.value("LTXVConditioning", "negative")
    return template.graph[encoder]["inputs"]["text"]


T2V, I2V, FLF2V, TI2V = (f"video_wan2_2_{name}" for name in ("14B_t2v", "14B_i2v", "14B_flf2v", "5B_ti2v"))
LTX_T2V, LTX_I2V, LTX_FLF2V, LTX_IA2V = (f"video_ltx2_3_{name}" for name in ("t2v", "i2v", "flf2v", "ia2v"))

CASES = (
    Case("Wan 2.2 14B text to video", T2V, partial(wan_t2v, fast=False)),
    Case("the same, its four-step LoRAs switched on", T2V, partial(wan_t2v, fast=True)),
    Case("Wan 2.2 14B image to video", I2V, wan_i2v),
    Case("the same, its four-step LoRAs switched on", I2V, partial(wan_i2v, fast=True)),
    Case("Wan 2.2 14B first and last frame to video", FLF2V, wan_flf2v),
    Case("Wan 2.2 5B text to video", TI2V, wan_5b),
    Case("the same, its Load Image switched on", TI2V, partial(wan_5b, photo=SIZED)),
    Case("LTX-2.3 text to video", LTX_T2V, ltx_two_passes),
    Case("LTX-2.3 image to video", LTX_I2V, ltx_i2v),
    Case("LTX-2.3 first and last frame to video", LTX_FLF2V, ltx_flf2v),
    Case("LTX-2.3 image and audio to video", LTX_IA2V, partial(ltx_ia2v, seconds=UNCROPPED)),
    Case(
        "a photograph of another size, Upscale Image (bilinear) before the stage", I2V, partial(wan_i2v, photo=BILINEAR)
    ),
    Case("two of another size, Upscale Image (bilinear) before the stage", FLF2V, partial(wan_flf2v, photo=BILINEAR)),
    Case(
        "a photograph of another size, Upscale Image (bilinear) before the stage", TI2V, partial(wan_5b, photo=BILINEAR)
    ),
    Case("a photograph of another size as it is", LTX_I2V, partial(ltx_i2v, photo=OTHER)),
    Case(
        "two of another size, Upscale Image (nearest-exact) before the stage",
        LTX_FLF2V,
        partial(ltx_flf2v, photo=NEAREST),
    ),
    Case("a photograph of another size as it is", I2V, partial(wan_i2v, photo=OTHER), same=False),
    Case("a photograph of another size as it is", TI2V, partial(wan_5b, photo=OTHER), same=False),
    Case("two photographs of another size as they are", LTX_FLF2V, partial(ltx_flf2v, photo=OTHER), same=False),
    Case("a sound that ComfyUI crops", LTX_IA2V, partial(ltx_ia2v, seconds=1), same=False),
)
