"""Models in diffusers' layout, and diffusers' own schedulers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import folder_paths
from comfy_api.latest import io

from ..host.progress import say
from ..pipelines.load.diffusers.folder import DEFAULT, OWN, VARIANTS, folders_below, open_folder
from ..pipelines.mlx.process import Weights
from ..pipelines.model.variant import Training
from ..pipelines.sampling.schedulers import DiffusersSampler, Solver, as_sampler
from .load import NONE, TILED, decode_input, describe, frame_rate_input, model_file, upscaler_input
from .types import AUTOMATIC, LOAD, ModelBundle

if TYPE_CHECKING:
    from ..pipelines.load.diffusers.ltx2 import Ltx2Choices

BY_SCHEDULER = "as its scheduler says"
COMFYUI = "ComfyUI"


class LoadDiffusersFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        ltx2 = [
            io.Combo.Input(
                "sampled_as",
                options=[BY_SCHEDULER, Training.DISTILLED.value, Training.DEV.value],
                default=BY_SCHEDULER,
                tooltip="distilled: 8 steps, no guidance. dev: 30 to 40 steps, guided. A scheduler with dynamic "
                "shifting is that of a dev model.",
            ),
            upscaler_input(OWN),
            frame_rate_input(),
        ]
        return io.Schema(
            node_id="LongtakeLoadDiffusersFolder",
            display_name="Load Diffusers Folder",
            category=LOAD,
            description="A model as diffusers saves it, run by ComfyUI's own code. Configs and headers are checked "
            "now; weights load when a stage first needs them.",
            search_aliases=["diffusers loader", "huggingface repo", "from_pretrained", "model_index"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=list(folders_below(folder_paths.get_folder_paths("diffusers"))),
                    tooltip="A folder with a model_index.json below models/diffusers.",
                ),
                io.Combo.Input(
                    "variant",
                    options=list(VARIANTS),
                    default=DEFAULT,
                    tooltip="Which weights are read where a folder holds several: fp16 is "
                    "diffusion_pytorch_model.fp16.safetensors. default: those without a variant in their names.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],
                    default="default",
                    advanced=True,
                    tooltip="Precision the diffusion weights are held in; default keeps the files' own.",
                ),
                io.DynamicCombo.Input(
                    "family",
                    options=[io.DynamicCombo.Option(AUTOMATIC, []), io.DynamicCombo.Option("LTX-2", ltx2)],
                    tooltip="Automatic: what the folder says, Wan or LTX-2 (in one pass, at 24 frames a second). "
                    "LTX-2: more to choose.",
                ),
                io.Combo.Input(
                    "rendered_by",
                    options=[COMFYUI, *(weights.value for weights in Weights)],
                    default=COMFYUI,
                    optional=True,
                    advanced=True,
                    tooltip="Who takes the steps of a stage. MLX, on Apple silicon: Wan 2.2 in bf16, or with its "
                    "blocks quantised to 8 or 4 bits, by a Python of your own that LONGTAKE_MLX_PYTHON names.",
                ),
                decode_input(),
            ],
            outputs=[
                ModelBundle.Output(display_name="model", tooltip="The bundle, for stages; it loads when first needed.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        folder: str,
        variant: str,
        weight_dtype: str,
        family: dict,
        rendered_by: str = COMFYUI,
        decode: str = AUTOMATIC,
    ) -> io.NodeOutput:
        from ..pipelines.load.diffusers.bundle import bundle_from_folder

        opened = open_folder(folder, folder_paths.get_folder_paths("diffusers"), variant)
        mlx = None if rendered_by == COMFYUI else Weights(rendered_by)
        bundle = bundle_from_folder(opened, weight_dtype, _choices(family), mlx)
        bundle = replace(bundle, tiled=decode == TILED)
        say(cls.hidden.unique_id, describe(bundle))
        return io.NodeOutput(bundle)


def _choices(family: dict) -> Ltx2Choices | None:
    from ..pipelines.load.diffusers.ltx2 import Ltx2Choices

    if family["family"] == AUTOMATIC:
        return None
    training, upscaler = family["sampled_as"], family["latent_upscaler"]
    if upscaler not in (NONE, OWN):
        upscaler = model_file("latent_upscale_models", upscaler)
    return Ltx2Choices(
        None if training == BY_SCHEDULER else Training(training),
        None if upscaler == NONE else upscaler,
        Fraction(family["frame_rate"]),
    )


class DiffusersScheduler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        unipc = [
            io.Int.Input("order", default=2, min=1, max=3, tooltip="Of the solver. Wan was published with 2."),
            io.Boolean.Input(
                "integer_timesteps",
                default=True,
                tooltip="Timesteps reach the model without their fraction, as in Wan's own code and diffusers' "
                "pipelines. Off: as ComfyUI's samplers give them.",
            ),
        ]
        return io.Schema(
            node_id="LongtakeDiffusersScheduler",
            display_name="Diffusers Scheduler",
            category=LOAD,
            description="A scheduler of diffusers as a sampler, at the sigmas of the graph. UniPC is the one Wan was "
            "published with; ComfyUI's uni_pc is another algorithm.",
            search_aliases=["unipc", "wan sampler", "flow match euler", "reference sampler"],
            inputs=[
                io.DynamicCombo.Input(
                    "solver",
                    options=[
                        io.DynamicCombo.Option(Solver.UNIPC.value, unipc),
                        io.DynamicCombo.Option(Solver.EULER.value, []),
                    ],
                    tooltip="UniPC: Wan's reference sampler. FlowMatchEuler equals ComfyUI's euler.",
                ),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="For SamplerCustom and the like.")],
        )

    @classmethod
    def execute(cls, solver: dict) -> io.NodeOutput:
        recipe = DiffusersSampler(
            Solver(solver["solver"]), solver.get("order", 2), solver.get("integer_timesteps", False)
        )
        recipe.check()
        return io.NodeOutput(as_sampler(recipe))


NODES = [LoadDiffusersFolder, DiffusersScheduler]
