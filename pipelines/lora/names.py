"""How LoRA files spell the modules they change, brought to the spelling that ComfyUI's own matcher reads.

A key is a module and a suffix: `transformer.blocks.0.attn1.to_q` and `.lora_A.weight`. Trainers differ in what they put
before the module, in whether they join its parts by dots or by underscores, and in whose names they use for the parts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

NATIVE = "diffusion_model."
# LightX2V's extraction script writes a block's or the head's `modulation` so, without the table's name.
TABLE = ".diff_m"
# PEFT's additions to a pair, which ComfyUI's matcher passes over.
MAGNITUDE, BIAS = ".lora_magnitude_vector", ".lora_B.bias"

# A key's end, as ComfyUI's weight adapters read it, and those of PEFT that they do not.
_SUFFIX = re.compile(
    r"""(?: \.lora_(?:up|down|mid)(?:\.weight)?
          | \.lora_[AB](?:\.\w+)?\.(?:weight|bias) | \.lora_[AB]
          | \.lora_magnitude_vector(?:\.\w+)*
          | [._]lora\.(?:up|down)\.weight | \.lora_linear_layer\.(?:up|down)\.weight
          | \.(?:alpha|dora_scale|diff|diff_b|diff_m|set_weight|w_norm|b_norm|reshape_weight)
          | \.(?:hada_\w+|lokr_\w+|oft_\w+|rescale|[ab][12]\.weight)
        )$""",
    re.VERBOSE,
)

# Of those, the ones that hold matrices.
_FACTOR = re.compile(
    r"""(?: lora_(?:up|down|mid)(?:\.weight)? | lora_[AB](?:\.\w+)?\.weight | lora_[AB]
          | lora\.(?:up|down)\.weight | lora_linear_layer\.(?:up|down)\.weight
          | hada_[wt]\w* | lokr_\w+ | oft_\w+ | [ab][12]\.weight
        )$""",
    re.VERBOSE,
)

_DOTTED = (
    "text_encoders.",
    "base_model.model.",
    "model.diffusion_model.",
    NATIVE,
    "transformer_2.",
    "transformer.",
    "unet.",
    "model.",
)
_JOINED = (
    ("lora_unet__", "lora_unet__*, Wan-Fun"),
    ("lora_unet_", "lora_unet_*, kohya / musubi"),
    ("lora_transformer_2_", "lora_transformer_2_*, OneTrainer"),
    ("lora_transformer_", "lora_transformer_*, OneTrainer"),
    ("lycoris_", "lycoris_*, SimpleTuner"),
)

_PAIRS = (
    (r"\.lora_[AB]\.\w+\.weight$", "lora_A/B with an adapter name"),
    (r"\.lora_[AB](\.weight)?$", "lora_A/B"),
    (r"lora[._](up|down)(\.weight)?$|lora_linear_layer\.", "lora_down/up"),
    (r"\.lokr_", "LoKr"),
    (r"\.hada_", "LoHa"),
    (r"\.oft_", "OFT"),
    (r"\.[ab][12]\.weight$", "GLoRA"),
    (r"\.dora_scale$|\.lora_magnitude_vector", "DoRA"),
    (r"\.diff(_b|_m)?$", "diff"),
    (r"\.set_weight$", "set_weight"),
)


def split(key: str) -> tuple[str, str] | None:
    """Module and suffix of a LoRA key, or None where it is no LoRA's."""
    suffix = _SUFFIX.search(key)
    return (key[: suffix.start()], suffix.group()) if suffix else None


def is_factor(suffix: str) -> bool:
    """Whether a key with this end holds a matrix, or a kernel, that a change is multiplied from."""
    return _FACTOR.search(suffix) is not None


def bare(module: str) -> str:
    """A module without what trainers put before it."""
    for prefix, _ in _JOINED:
        if module.startswith(prefix):
            return module[len(prefix) :]
    while True:
        prefix = next((p for p in _DOTTED if module.startswith(p)), "")
        if not prefix:
            return module
        module = module[len(prefix) :]


def for_second(key: str) -> bool:
    """Whether a key names the second of two diffusion models, as diffusers calls Wan 2.2's low-noise expert."""
    return key.startswith(("transformer_2.", "base_model.model.transformer_2.", "lora_transformer_2_"))


def aliases(modules: Iterable[str], diffusers_name: Callable[[str], str]) -> dict[str, str]:
    """Every spelling of a bare module -> the module as ComfyUI's matcher reads it.

    Args:
        modules: as ComfyUI's model names them: `blocks.0.self_attn.q`.
    """
    native: dict[str, str] = {}
    for module in modules:
        theirs = diffusers_name(module)
        spellings = [module, theirs]
        if theirs.endswith(".to_out.0"):
            spellings.append(theirs[: -len(".0")])
        for spelling in spellings:
            native.setdefault(spelling, NATIVE + module)
            native.setdefault(spelling.replace(".", "_"), NATIVE + module)
    return native


def respelled(key: str, find: Callable[[str], str | None]) -> str | None:
    """The key as ComfyUI's matcher reads it, or None where no module of the model is meant.

    Args:
        find: bare module -> module as that matcher reads it.
    """
    parts = split(key)
    if parts is None:
        return None
    module, suffix = parts
    if suffix == TABLE:
        module, suffix = f"{module}.modulation", ".diff"
    native = find(bare(module))
    if native is None:
        return None
    suffix = re.sub(r"^\.lora_magnitude_vector.*", MAGNITUDE, suffix)
    suffix = re.sub(r"^\.lora_([AB])(\.\w+)?\.(weight|bias)$", r".lora_\1.\3", suffix)
    suffix = re.sub(r"^\.lora_(up|down|mid)$", r".lora_\1.weight", suffix)
    return native + suffix


def format_of(keys: Iterable[str]) -> str:
    """What most of the keys look like, in words: their prefix and the kinds of change they hold."""
    modules, kinds = Counter[str](), Counter[str]()
    for key in keys:
        parts = split(key)
        if parts is None:
            continue
        modules[_prefix_in_words(parts[0])] += 1
        kind = next((name for pattern, name in _PAIRS if re.search(pattern, key)), None)
        if kind is not None:
            kinds[kind] += 1
    if not modules:
        return "no LoRA"
    return ", ".join([modules.most_common(1)[0][0], *(kind for kind, _ in kinds.most_common())])


def _prefix_in_words(module: str) -> str:
    for prefix, words in _JOINED:
        if module.startswith(prefix):
            return words
    if module.startswith("base_model.model."):
        return "base_model.model.*, PEFT"
    if module.startswith("model.diffusion_model."):
        return "model.diffusion_model.*"
    if module.startswith(NATIVE):
        return "diffusion_model.*"
    if module.startswith(("transformer.", "transformer_2.")):
        return "transformer.*, diffusers"
    if re.search(r"(^|\.)attn[12]\.|ffn\.net\.", module):
        return "diffusers names without prefix"
    return "names without prefix"
