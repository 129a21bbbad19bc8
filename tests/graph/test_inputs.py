"""Files of the input folder: what cannot be read is refused in a sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from longtake.pipelines.errors import Refusal
from PIL import Image


def png(width: int, height: int) -> bytes:
    """The beginning of a picture of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def written() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "PNG")
    return file.getvalue()


PICTURES = {
    "a picture of 10 gigapixels": png(100_000, 100_000),
    "a head without a picture": written()[:30],
    "text": b"no picture",
    "nothing": b"",
    "a torn webp": b"RIFF\x20\0\0\0WEBPVP8 " + b"\0" * 20,
    "a torn tiff": b"II*\0\x08\0\0\0" + b"\xff" * 40,
    "a torn gif": b"GIF89a\xff\xff\xff\xff" + b"\0" * 10,
}


@pytest.mark.parametrize("content", PICTURES.values(), ids=PICTURES.keys())
def test_what_is_no_picture_is_refused_in_a_sentence(comfyui: Path, content: bytes) -> None:
    from longtake.host.inputs import input_image

    (comfyui / "input" / "sea.png").write_bytes(content)
    with pytest.raises(Refusal) as caught:
        input_image("sea.png")
    assert str(caught.value).startswith("'sea.png' cannot be read as an image (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"no sound", bytes(range(256)) * 64, b"RIFF\xff\xff\0\0WAVEfmt " + b"\0" * 99]
)
def test_what_is_no_sound_is_refused_in_a_sentence(comfyui: Path, content: bytes) -> None:
    from longtake.host.inputs import input_sound

    (comfyui / "input" / "sea.wav").write_bytes(content)
    with pytest.raises(Refusal, match=r"^'sea\.wav' cannot be read as sound \("):
        input_sound("sea.wav")


@pytest.mark.parametrize("name", ["boats/one.png", "boats\\one.png"])
def test_a_picture_in_a_folder_is_found_with_either_slash(comfyui: Path, name: str) -> None:
    from longtake.host.inputs import input_image
    from longtake.pipelines.document import image_name

    (comfyui / "input" / "boats").mkdir(exist_ok=True)
    (comfyui / "input" / "boats" / "one.png").write_bytes(written())
    assert input_image(image_name(name)).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_a_lora_in_a_folder_is_found_with_either_slash(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    import folder_paths
    from longtake.host.loras import lora_path

    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "ink.safetensors").write_bytes(b"")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    assert Path(lora_path(f"styles{slash}ink.safetensors")) == tmp_path / "styles" / "ink.safetensors"
