"""The frozen text encoder: umt5-shaped, one layer that hardly mixes, and a tokenizer with one token a word.

All words share half of their embedding, which is how cross attention tells them from the empty places that Wan pads
prompts with.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .world import SCENES

WIDTH = 64
PLACES = 512  # what Wan pads a prompt to
CONFIG = {
    "d_ff": 64,
    "d_kv": 16,
    "d_model": WIDTH,
    "num_heads": 4,
    "num_layers": 1,
    "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True,
    "model_type": "umt5",
}
_SEED = 7


@cache
def tokenizer() -> tuple[bytes, int]:
    """The serialised sentencepiece model and the size of its vocabulary."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([scene.prompt for scene in SCENES]),
        model_writer=written,
        model_type="word",
        vocab_size=200,
        hard_vocab_limit=False,
        use_all_vocab=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
        normalization_rule_name="identity",
    )
    model = written.getvalue()
    return model, sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()


@cache
def encoder() -> Any:
    """ComfyUI's own class with weights that only a seed decides."""
    import comfy.ops
    from comfy.text_encoders.t5 import T5

    config = {**CONFIG, "vocab_size": tokenizer()[1]}
    model = T5(config, torch.float32, torch.device("cpu"), comfy.ops.disable_weight_init)
    generator = torch.Generator().manual_seed(_SEED)
    for name, weight in model.named_parameters():
        weight.requires_grad_(False)
        if name.endswith("norm.weight"):
            weight.fill_(1)
        elif name == "shared.weight":
            weight.normal_(generator=generator)
            weight += torch.randn(WIDTH, generator=generator)
        else:
            weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
            if name.endswith((".o.weight", ".wo.weight")):
                weight *= 0.3
    return model.eval()


@torch.no_grad()
def embedded(prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Embeddings of prompts side by side, zero where they have ended, and how many words each has."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer()[0], add_eos=True)
    ids = [processor.encode(prompt) for prompt in prompts]
    lengths = torch.tensor([len(i) for i in ids])
    out = torch.zeros(len(ids), int(lengths.max()), WIDTH)
    for length in sorted(set(lengths.tolist())):
        rows = (lengths == length).nonzero().flatten()
        out[rows, :length] = encoder()(torch.tensor([ids[row] for row in rows.tolist()]), None)[0]
    return out, lengths
