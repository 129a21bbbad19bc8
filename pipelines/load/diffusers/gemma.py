"""Gemma 3 of any size as ComfyUI's text encoder of LTX-2, built of ComfyUI's own classes.

ComfyUI's loader builds the 12B model with its vision tower and the projection for its 49 hidden states; sizes are read
from a folder's config here, and prompts are text, so there is no vision tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import Refusal
from .folder import check_fixed
from .keys import LTX2_PROJECTION

NAME = "gemma3_12b"  # what ComfyUI calls the encoder inside the text encoder of LTX-2

# transformers' defaults for what configs leave out (Gemma3TextConfig).
DEFAULTS = {"vocab_size": 262_208, "head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4}
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers")


def gemma_shape(config: Mapping[str, Any], where: str) -> dict[str, int]:
    """The sizes of a Gemma 3, from the config of the whole model.

    Raises:
        Refusal: it computes otherwise than ComfyUI's class.
    """
    text = config.get("text_config", config)
    fixed = {
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "sliding_window": 1024,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "use_bidirectional_attention": False,
    }
    check_fixed(text, fixed, where)
    if missing := [key for key in SIZES if key not in text]:
        raise Refusal(f"{where}: config.json does not state {missing[0]}.", field="folder")
    shape = {key: int(text.get(key, DEFAULTS.get(key, 0))) for key in (*SIZES, *DEFAULTS)}
    # Queries are divided by the root of the width of a head.
    check_fixed(text, {"query_pre_attn_scalar": shape["head_dim"]}, where)
    _check_attention(text, shape["num_hidden_layers"], where)
    return shape


def _check_attention(text: Mapping[str, Any], layers: int, where: str) -> None:
    """Raise `Refusal` unless every sixth layer looks at everything, its positions stretched 8 times."""
    pattern = text.get("_sliding_window_pattern", text.get("sliding_window_pattern", 6))
    kinds = text.get("layer_types")
    everything = {i for i in range(layers) if (kinds[i] == "full_attention" if kinds else (i + 1) % pattern == 0)}
    if everything != {i for i in range(layers) if (i + 1) % 6 == 0}:
        raise Refusal(
            f"{where}: in ComfyUI's Gemma 3 every sixth layer attends to everything, not here.", field="folder"
        )
    rope = text.get("rope_parameters")
    stretched = text.get("rope_scaling") or {} if rope is None else rope.get("full_attention", {})
    if rope is not None:
        check_fixed(stretched, {"rope_theta": 1_000_000.0}, where)
        check_fixed(rope.get("sliding_attention", {}), {"rope_theta": 10_000.0, "rope_type": "default"}, where)
    stretch = {"factor": stretched.get("factor"), "rope_type": stretched.get("rope_type", stretched.get("type"))}
    check_fixed(stretch, {"factor": 8.0, "rope_type": "linear"}, where)


def text_encoder_class(shape: Mapping[str, int], projection: Mapping[str, int], precision: Any) -> type:
    """ComfyUI's text encoder of LTX-2 at these sizes.

    Args:
        shape: of Gemma.
        projection: name of each projection -> its width; one without a name in LTX-2.0, video and audio in 2.3.
        precision: of the weights; None leaves it to ComfyUI.
    """
    import torch
    from comfy import sd1_clip
    from comfy.text_encoders import llama, lt

    class Gemma(llama.BaseLlama, llama.BaseGenerate, torch.nn.Module):
        def __init__(self, config: dict[str, int], dtype: Any, device: Any, operations: Any):
            super().__init__()
            sizes = dict(config)
            # ComfyUI's config has the width of a head as a constant of its class.
            fixed = type("GemmaConfig", (llama.Gemma3_12B_Config,), {"head_dim": sizes.pop("head_dim")})
            self.num_layers = sizes["num_hidden_layers"]
            self.model = llama.Llama2_(fixed(**sizes), device=device, dtype=dtype, ops=operations)
            self.dtype = dtype

    class TextEncoder(lt.LTXAVTEModel):
        def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None):
            torch.nn.Module.__init__(self)
            dtype = precision or dtype
            self.dtypes = {dtype}
            self.compat_mode = False
            self.execution_device = None
            self.gemma3_12b = sd1_clip.SDClipModel(
                device=device,
                layer="all",
                textmodel_json_config=dict(shape),
                dtype=dtype,
                special_tokens={"start": 2, "pad": 0},
                layer_norm_hidden_state=False,
                model_class=Gemma,
                enable_attention_masks=True,
                return_attention_masks=True,
                model_options=model_options or {},
            )
            operations = self.gemma3_12b.operations
            states = shape["hidden_size"] * (shape["num_hidden_layers"] + 1)
            placed = {"dtype": dtype, "device": device}
            if "" in projection:
                self.text_projection_type = "single_linear"
                self.text_embedding_projection = operations.Linear(states, projection[""], bias=False, **placed)
            else:
                self.text_projection_type = "dual_linear"
                self.text_embedding_projection = lt.DualLinearProjection(
                    states, projection["video"], projection["audio"], operations=operations, **placed
                )

        def load_sd(self, sd: dict[str, Any]) -> Any:
            # The base class tells Gemma from a projection by the last layer of the 12B model.
            return self.gemma3_12b.load_sd(sd) if "model.embed_tokens.weight" in sd else super().load_sd(sd)

    return TextEncoder


def native_text_encoder(shape: Mapping[str, int], projection: Mapping[str, int]) -> dict[str, Any]:
    """The weights that such a text encoder loads, as meta tensors."""
    import torch

    with torch.device("meta"):
        encoder = text_encoder_class(shape, projection, torch.float32)(device="meta")
    gemma = {f"model.{key}": tensor for key, tensor in encoder.gemma3_12b.transformer.model.state_dict().items()}
    name = f"{LTX2_PROJECTION}aggregate_embed." if "" in projection else LTX2_PROJECTION
    return gemma | {name + key: tensor for key, tensor in encoder.text_embedding_projection.state_dict().items()}
