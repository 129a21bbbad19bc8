"""Models at their published sizes, with random weights that are made where they run; here those of Wan 2.2.

No weights need be downloaded to learn what a render costs: time and memory do not depend on their values. The modules
are ComfyUI's own, on the meta device, so names and shapes are those of the installed version; its own loader then takes
the tensors as if they came from a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch

from tests.tiny.weights import random_tensors


class Weights(str, Enum):
    BF16 = "bf16"
    FP8 = "fp8"  # matrices of the blocks in float8_e4m3fn with a scale each, as in the *_fp8_scaled files
    FP32 = "fp32"


@dataclass(frozen=True)
class Net:
    """What ComfyUI's WanModel is built with."""

    in_dim: int
    out_dim: int
    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    text_dim: int = 4096


@dataclass(frozen=True)
class Size:
    """One scale of everything: the nets by variant, and the VAEs.

    Args:
        vae_dim: width of the 16-channel VAE.
        vae22_dims: widths of the 48-channel VAE's encoder and decoder.
    """

    nets: dict[str, Net]
    vae_dim: int
    vae22_dims: tuple[int, int]


# wan/configs of the Wan 2.2 release: wan_t2v_A14B, wan_i2v_A14B, wan_ti2v_5B; VAE widths as ComfyUI's loader has them.
PUBLISHED = Size(
    nets={
        "t2v-14b": Net(16, 16, 5120, 13824, 40, 40),
        "i2v-14b": Net(36, 16, 5120, 13824, 40, 40),
        "ti2v-5b": Net(48, 48, 3072, 14336, 24, 30),
    },
    vae_dim=96,
    vae22_dims=(160, 256),
)
TINY = Size(
    nets={
        "t2v-14b": Net(16, 16, 24, 48, 2, 2, 32),
        "i2v-14b": Net(36, 16, 24, 48, 2, 2, 32),
        "ti2v-5b": Net(48, 48, 24, 48, 2, 2, 32),
    },
    vae_dim=4,
    vae22_dims=(8, 8),
)


def device() -> torch.device:
    import comfy.model_management

    return comfy.model_management.get_torch_device()


def diffusion_model(net: Net, weights: Weights, seed: int) -> Any:
    """A ModelPatcher, from random tensors."""
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    heads = {"num_heads": net.num_heads, "text_dim": net.text_dim}
    module = WanModel(
        in_dim=net.in_dim,
        out_dim=net.out_dim,
        dim=net.dim,
        ffn_dim=net.ffn_dim,
        num_layers=net.num_layers,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
        device=torch.device("meta"),
        **heads,
    )
    tensors = stored(random_tensors(module, seed, device()), weights)
    return loaded_model(tensors, {"config": json.dumps({"transformer": heads})})


def loaded_model(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> Any:
    """A ModelPatcher, by ComfyUI's own loader."""
    from comfy.sd import load_diffusion_model_state_dict

    model = load_diffusion_model_state_dict(tensors, metadata=metadata)
    if model is None:
        raise RuntimeError("ComfyUI does not know its own model again")
    return model


def stored(tensors: Iterable[tuple[str, torch.Tensor]], weights: Weights) -> dict[str, torch.Tensor]:
    """A state dict in RAM, as it would be read from a file of this kind."""
    made = {}
    for name, tensor in tensors:
        made.update({key: value.cpu() for key, value in _stored(name, tensor, weights).items()})
    if weights is Weights.FP8:
        # Two elements tell ComfyUI to multiply at full precision, as a card without fp8 units would.
        made["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    return made


def _stored(name: str, tensor: torch.Tensor, weights: Weights) -> dict[str, torch.Tensor]:
    """A tensor as a checkpoint of this kind stores it, with its scale beside it."""
    if weights is Weights.FP32:
        return {name: tensor}
    if weights is Weights.FP8 and "blocks." in name and name.endswith(".weight") and tensor.ndim == 2:
        scale = tensor.abs().max() / torch.finfo(torch.float8_e4m3fn).max
        return {
            name: (tensor / scale).to(torch.float8_e4m3fn),
            f"{name.removesuffix('.weight')}.scale_weight": scale.float(),
        }
    return {name: tensor.bfloat16()}


def vae(size: Size, variant: str, seed: int) -> Any:
    """ComfyUI's VAE object for a variant, from random tensors."""
    import comfy.ldm.wan.vae
    import comfy.ldm.wan.vae2_2
    import comfy.sd

    shape = {
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_scales": [],
        "temperal_downsample": [False, True, True],
    }
    if variant == "ti2v-5b":
        if size is TINY:
            import tests.tiny.shim  # noqa: F401 - ComfyUI builds this VAE at one width only
        encoder, decoder = size.vae22_dims
        module = comfy.ldm.wan.vae2_2.WanVAE(dim=encoder, dec_dim=decoder, z_dim=48, **shape)
    else:
        module = comfy.ldm.wan.vae.WanVAE(dim=size.vae_dim, z_dim=16, **shape)
    tensors = {name: tensor.cpu() for name, tensor in random_tensors(module, seed, device())}
    made = comfy.sd.VAE(sd=tensors)
    made.throw_exception_if_invalid()
    return made


class Words:
    """In the place of the text encoder: UMT5-XXL and Gemma are 11 GB and more that no figure here depends on.

    A text becomes noise of its own, `[1, tokens, width]`, in the form of ComfyUI's CONDITIONING.

    Args:
        values: entries of the CONDITIONING.
    """

    def __init__(self, width: int, tokens: int = 512, **values: Any):
        self._shape, self._values = (1, tokens, width), values
        self.cond_stage_model = torch.nn.Module()  # with no weights that a LoRA could be for

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> list[Any]:
        generator = torch.Generator().manual_seed(len(tokens))
        return [[torch.randn(self._shape, generator=generator), dict(self._values)]]


VARIANTS = (*PUBLISHED.nets, "ltx-2.0", "ltx-2.3")


def bundle(size: Size, variant: str, weights: Weights) -> Any:
    """A Longtake bundle, as Use Loaded Models makes it.

    Args:
        variant: one of VARIANTS.
    """
    from longtake.pipelines.load.files import bundle_from_loaded

    if variant.startswith("ltx"):
        from . import models_ltx2

        nets = (models_ltx2.TINY_2_0, models_ltx2.TINY_2_3, models_ltx2.LARGE_2_0, models_ltx2.LARGE_2_3)
        return models_ltx2.bundle(nets[(size is PUBLISHED) * 2 + variant.endswith("3")], weights)

    net = size.nets[variant]
    high = diffusion_model(net, weights, seed=1)
    low = None if variant == "ti2v-5b" else diffusion_model(net, weights, seed=2)
    return bundle_from_loaded(high, low, Words(net.text_dim), vae(size, variant, seed=3))


def write_lora(path: Any, model: Any, seed: int, rank: int) -> None:
    """A LoRA over every square matrix of the attention blocks of a bundle's first diffusion model."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in model.high.get().model.named_parameters():
        attention = name.endswith(".weight") and "blocks." in name and "attn" in name and "connector" not in name
        if attention and weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
            key = name.removesuffix(".weight")
            tensors[f"{key}.lora_A.weight"] = 0.01 * torch.randn(rank, weight.shape[1], generator=generator)
            tensors[f"{key}.lora_B.weight"] = 0.01 * torch.randn(weight.shape[0], rank, generator=generator)
    save_file(tensors, path)
