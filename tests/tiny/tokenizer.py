"""Sentencepiece tokenizers: a small one trained on four lines, and one of the kind that UMT5 has."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import sentencepiece

from .prompts import prompts

LINES = (
    "a red fox runs over the snow",
    "camera pans left to a quiet lake at dawn",
    "<start_of_turn>user",
    "music plays softly in the hall",
)


def tokenizer_model() -> tuple[bytes, int]:
    """Return the serialised tokenizer and its vocabulary size; any text can be spelled, by bytes if need be."""
    return _trained(
        LINES * 4,
        vocab_size=320,
        model_type="bpe",
        bos_id=2,
        unk_id=3,
        normalization_rule_name="identity",  # the default rule alone is 240 KB
    )


def unigram_model() -> tuple[bytes, int]:
    """The serialised tokenizer and its vocabulary size: unigram, NFKC and byte fallback, as UMT5's."""
    return _trained(prompts(1000), vocab_size=600, model_type="unigram", unk_id=2, bos_id=-1)


def gemma_model() -> tuple[bytes, int]:
    """The serialised tokenizer and its vocabulary size: BPE with byte fallback and no space put first, as Gemma's."""
    return _trained(
        prompts(1000),
        vocab_size=600,
        model_type="bpe",
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_id=2,
        bos_piece="<bos>",
        unk_id=3,
    )


def _trained(sentences: Iterable[str], **options: Any) -> tuple[bytes, int]:
    """A tokenizer trained on a few sentences, with byte fallback, and the size of its vocabulary."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=written,
        character_coverage=1.0,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    model = written.getvalue()
    return model, sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
