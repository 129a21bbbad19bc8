"""The tokenizer of a diffusers folder, in the place of the one that ComfyUI would read from a text encoder's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import Refusal

if TYPE_CHECKING:
    from .folder import DiffusersFolder

# The folder's own rules come first: a SentencePiece model knows nothing of the tokens that were added to it later.
FILES = ("tokenizer.json", "spiece.model", "tokenizer.model")


def tokenizer_of(folder: DiffusersFolder) -> str:
    """Path of the folder's tokenizer.

    Raises:
        Refusal: it has none that can be read.
    """
    for name in FILES:
        path = folder.path / "tokenizer" / name
        if path.is_file():
            return str(path)
    raise Refusal(
        f"{folder.name}/tokenizer has none of {', '.join(FILES)}. Was the folder downloaded whole?", field="folder"
    )


class FolderTokenizer:
    """A tokenizer.json, answering the calls that ComfyUI makes of its SentencePiece tokenizer.

    Args:
        add_bos: begin with the file's `<bos>` even where its own rules do not say so, as transformers does for Gemma.
    """

    def __init__(self, path: str, add_bos: bool = False):
        import tokenizers

        self.tokenizer = tokenizers.Tokenizer.from_file(path)
        bos = self.tokenizer.token_to_id("<bos>") if add_bos else None
        self.begin: list[int] = [] if bos is None else [bos]
        # Lengths are ComfyUI's to decide; a file may hold those of the last call before it was saved.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @classmethod
    def from_pretrained(cls, path: str, add_bos: bool = False, **_: Any) -> FolderTokenizer:
        return cls(path, add_bos)

    def __call__(self, text: str) -> dict[str, list[int]]:
        ids = self.tokenizer.encode(text).ids
        return {"input_ids": ids if ids[:1] == self.begin else self.begin + ids}

    def get_vocab(self) -> dict[str, int]:
        return dict(self.tokenizer.get_vocab())

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))


def tokenizer_class(path: str) -> type:
    """What reads the file: ComfyUI's SentencePiece, or `FolderTokenizer`."""
    if path.endswith(".json"):
        return FolderTokenizer
    from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer

    return SPieceTokenizer


def umt5_tokenizer(path: str, width: int) -> Callable[..., Any]:
    """ComfyUI's tokenizer of Wan, reading `path`.

    Args:
        width: of the text encoder; embeddings of another are refused by ComfyUI.
    """
    from comfy.sd1_clip import SD1Tokenizer, SDTokenizer

    class Umt5Tokenizer(SDTokenizer):
        # Ends and padding as comfy.text_encoders.wan.UMT5XXlTokenizer sets them.
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None):
            super().__init__(
                path,
                pad_with_end=False,
                embedding_size=width,
                embedding_key="umt5xxl",
                tokenizer_class=tokenizer_class(path),
                has_start_token=False,
                pad_to_max_length=False,
                max_length=99999999,
                min_length=512,
                pad_token=0,
                embedding_directory=embedding_directory,
            )

    def make(embedding_directory: Any = None, tokenizer_data: Any = None) -> Any:
        return SD1Tokenizer(embedding_directory=embedding_directory, clip_name="umt5xxl", tokenizer=Umt5Tokenizer)

    return make


def gemma_tokenizer(path: str, width: int) -> Callable[..., Any]:
    """ComfyUI's tokenizer of LTX-2, reading `path`.

    Args:
        width: of the text encoder; embeddings of another are refused by ComfyUI.
    """
    from comfy.sd1_clip import SD1Tokenizer, SDTokenizer
    from comfy.text_encoders.lt import Gemma3_Tokenizer

    class GemmaTokenizer(Gemma3_Tokenizer, SDTokenizer):
        # Ends, padding and special tokens as comfy.text_encoders.lt.Gemma3_12BTokenizer sets them.
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None):
            super().__init__(
                path,
                pad_with_end=False,
                embedding_size=width,
                embedding_key="gemma3_12b",
                tokenizer_class=tokenizer_class(path),
                has_end_token=False,
                pad_to_max_length=False,
                max_length=99999999,
                min_length=1024,
                pad_left=True,
                disable_weights=True,
                tokenizer_args={
                    "add_bos": True,
                    "add_eos": False,
                    "special_tokens": {"<image_soft_token>": 262144, "<end_of_turn>": 106},
                },
                embedding_directory=embedding_directory,
            )

    def make(embedding_directory: Any = None, tokenizer_data: Any = None) -> Any:
        return SD1Tokenizer(embedding_directory=embedding_directory, name="gemma3_12b", tokenizer=GemmaTokenizer)

    return make
