"""The tiny Gemma as a real comfy.sd.CLIP: core classes throughout, but for sizes that core writes down as numbers.

Core always builds Gemma's 400M vision tower and a text projection of 49 layers by 3840; neither can be tiny.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders.llama as llama
import comfy.text_encoders.lt as lt
import comfy.utils
import torch

PROJECTION = "text_embedding_projection."


class TinyGemma(llama.BaseLlama, llama.BaseGenerate, torch.nn.Module):
    def __init__(self, config_dict, dtype, device, operations):
        super().__init__()
        shape = dict(config_dict)
        gemma = type("TinyGemmaConfig", (llama.Gemma3_12B_Config,), {"head_dim": shape.pop("head_dim")})
        config = gemma(**shape)
        self.num_layers = config.num_hidden_layers
        self.model = llama.Llama2_(config, device=device, dtype=dtype, ops=operations)
        self.dtype = dtype


def _encoder(config: dict[str, Any], projection: dict[str, torch.Tensor]) -> type:
    kind = lt.sd_detect([projection]).get("text_projection_type", "single_linear")
    states = config["hidden_size"] * (config["num_hidden_layers"] + 1)

    class Encoder(lt.LTXAVTEModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            torch.nn.Module.__init__(self)
            self.dtypes = {dtype}
            self.compat_mode = False
            self.text_projection_type = kind
            self.execution_device = None
            self.gemma3_12b = comfy.sd1_clip.SDClipModel(
                device=device,
                layer="all",
                layer_idx=None,
                textmodel_json_config=dict(config),
                dtype=dtype,
                special_tokens={"start": 2, "pad": 0},
                layer_norm_hidden_state=False,
                model_class=TinyGemma,
                enable_attention_masks=True,
                return_attention_masks=True,
                model_options=model_options or {},
            )
            operations = self.gemma3_12b.operations
            if kind == "single_linear":
                width = projection[f"{PROJECTION}aggregate_embed.weight"].shape[0]
                self.text_embedding_projection = operations.Linear(
                    states, width, bias=False, dtype=dtype, device=device
                )
            else:
                video, audio = (
                    projection[f"{PROJECTION}{name}_aggregate_embed.bias"].shape[0] for name in ("video", "audio")
                )
                self.text_embedding_projection = lt.DualLinearProjection(
                    states, video, audio, dtype=dtype, device=device, operations=operations
                )

        def load_sd(self, sd):
            return self.gemma3_12b.load_sd(sd) if "model.embed_tokens.weight" in sd else super().load_sd(sd)

        def memory_estimation_function(self, token_weight_pairs, device=None):
            return 16 * 1024 * 1024

    return Encoder


def load(paths: list[str], config: dict[str, Any]) -> comfy.sd.CLIP:
    """`paths` are Gemma and the checkpoint that holds the text projection."""
    state = comfy.utils.load_torch_file(paths[0], safe_load=True)
    checkpoint = comfy.utils.load_torch_file(paths[1], safe_load=True)
    projection = {name: tensor for name, tensor in checkpoint.items() if name.startswith(PROJECTION)}
    target = SimpleNamespace(params={}, clip=_encoder(config, projection), tokenizer=lt.LTXAVGemmaTokenizer)
    return comfy.sd.CLIP(
        target,
        # The tokens of the real one are padded to 1024; 16 make the tiny one fast.
        tokenizer_data={"spiece_model": state["spiece_model"], "gemma3_12b_min_length": 16},
        parameters=comfy.utils.calculate_parameters(state),
        state_dict=[state, projection],
        model_options={},
    )
