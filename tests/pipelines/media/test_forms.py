"""Every form a film can be saved in: what is read back, by frames, bits, rate, sound and metadata."""

from __future__ import annotations

import io
import json
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.media.codecs import (
    APNG,
    AV1,
    CODECS,
    FFV1,
    GIF,
    H264,
    H265,
    HARDWARE,
    PNG_ZIP,
    PRORES,
    VP9,
    WEBP,
    Form,
    works,
)
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.sound_codecs import SOUND_CODECS
from longtake.pipelines.media.video_file import SoundTrack, VideoFile
from PIL import Image

from .test_encode import tone

RATE = Fraction(24000, 1001)


class Ramp:
    """A film of smooth ramps that move, with values between those of 8 bits."""

    def __init__(self, frames: int = 12, width: int = 128, height: int = 96, frame_rate=RATE, step: int = 331):
        self.step = step
        self.frame_count, self.width, self.height, self.frame_rate = frames, width, height, frame_rate

    def frames(self, start=0, stop=None):
        y, x = np.mgrid[: self.height, : self.width]
        for frame in range(self.frame_count)[start:stop]:
            gray = 12000 + 250 * x + 60 * y + self.step * frame
            yield np.stack([gray, gray // 2 + 9000, 58000 - gray // 3], -1).astype(np.uint16)


def frames_of(source) -> np.ndarray:
    return np.stack([frame.astype(np.float64) for frame in source.frames()])


def saved(tmp_path: Path, form: Form, source=None, **more) -> Path:
    path = tmp_path / f"film.{form.container}"
    assert encode(source or Ramp(), path, form, **more) == (source or Ramp()).frame_count
    return path


VIDEOS = [
    (Form(H264), 2.0),
    (Form(H264, "mkv"), 2.0),
    (Form(H264, "mov"), 2.0),
    (Form(H264, bits=10), 2.0),
    (Form(H265), 2.0),
    (Form(H265, "mkv", bits=10), 2.0),
    (Form(H265, "mov"), 2.0),
    (Form(AV1), 2.5),
    (Form(AV1, "webm", bits=10), 2.5),
    (Form(AV1, "mkv"), 2.5),
    (Form(VP9, "webm"), 2.5),
    (Form(VP9, "mkv"), 2.5),
    (Form(VP9, "mp4"), 2.5),
    (Form(PRORES, "mov"), 0.5),
    (Form(PRORES, "mkv"), 0.5),
    (Form(FFV1, "mkv"), 0.3),
    (Form(FFV1, "mkv", bits=16), 0.01),
    (Form(APNG, "apng"), 0.3),
    (Form(APNG, "apng", bits=16), 0.01),
]


@pytest.mark.parametrize(
    ("form", "far"), VIDEOS, ids=[f"{form.codec.name} {form.container} {form.bits}" for form, _ in VIDEOS]
)
def test_a_film_comes_back_as_it_was(tmp_path: Path, form: Form, far: float) -> None:
    path = saved(tmp_path, form)

    film = VideoFile(path)
    assert (film.frame_count, film.width, film.height) == (12, 128, 96)
    assert film.frame_rate == RATE
    error = (frames_of(film) - frames_of(Ramp())) / 257
    assert np.sqrt((error**2).mean()) < far
    assert abs(error.mean()) < 0.3


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint16).reshape(frame.height, -1)[:, : frame.width].astype(float)


@pytest.mark.parametrize("form", [Form(H264, quality=1, bits=10), Form(H265, quality=1, bits=10), Form(PRORES, "mov")])
def test_ten_bits_are_made_of_sixteen(tmp_path: Path, form: Form) -> None:
    path = saved(tmp_path, form)

    with av.open(str(path)) as container:
        assert "10le" in container.streams.video[0].codec_context.pix_fmt
        luma = np.stack([luma_of(frame) for frame in container.decode(video=0)])
    exact = 64 + 876 * (frames_of(Ramp()) / 65535) @ [0.2126, 0.7152, 0.0722]
    assert np.sqrt(((luma - exact) ** 2).mean()) < 0.8  # 8 bits alone would be 1.15 away
    assert abs((luma - exact).mean()) < 0.1


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
def test_rates_are_exact_and_times_are_places(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, Form(container=container, preset="ultrafast"), Ramp(frames=50))
    tick = Fraction(1, 1000) if container == "mkv" else Fraction(0)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == RATE
        for number, frame in enumerate(file.decode(stream)):
            assert abs(frame.pts * frame.time_base - number / RATE) <= tick


def test_a_gif_has_the_colours_of_its_film_and_plays_for_ever(tmp_path: Path) -> None:
    path = saved(tmp_path, Form(GIF, "gif"), Ramp(frames=25, frame_rate=Fraction(16)))

    with Image.open(path) as gif:
        assert gif.n_frames == 25
        assert gif.info["loop"] == 0
        seconds = 0.0
        for number, frame in enumerate(frames_of(Ramp(frames=25))):
            gif.seek(number)
            seconds += gif.info["duration"] / 1000
            # dithered: right on the whole, not pixel by pixel
            shown = np.asarray(gif.convert("RGB")).reshape(12, 8, 16, 8, 3).mean((1, 3))
            assert np.abs(shown - frame.reshape(12, 8, 16, 8, 3).mean((1, 3)) / 257).max() < 6
    assert abs(seconds - 25 / 16) < 0.02


def test_an_animated_webp_plays_for_ever(tmp_path: Path) -> None:
    moving = Ramp(step=1500)
    path = saved(tmp_path, Form(WEBP, "webp"), moving)

    with Image.open(path) as webp:
        assert webp.n_frames == 12
        assert webp.info["loop"] == 0
        seconds = 0.0
        for number, frame in enumerate(frames_of(moving)):
            webp.seek(number)
            webp.load()
            seconds += webp.info["duration"] / 1000
            assert np.abs(np.asarray(webp.convert("RGB")) - frame / 257).mean() < 3
    assert abs(seconds - float(12 / RATE)) < 0.05


@pytest.mark.parametrize("bits", [8, 16])
def test_a_zip_of_png_files_holds_every_frame_and_the_workflow(tmp_path: Path, bits: int) -> None:
    path = saved(tmp_path, Form(PNG_ZIP, "zip", bits=bits), metadata={"workflow": {"nodes": []}})

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        facts = json.loads(archive.read("film.json"))
        assert facts == {"frame_rate": "24000/1001", "frames": 12, "workflow": {"nodes": []}}
        for number, frame in enumerate(Ramp().frames(), start=1):
            (tmp_path / "one.png").write_bytes(archive.read(f"frame_{number:05}.png"))
            [back] = VideoFile(tmp_path / "one.png").frames()
            assert np.abs(back.astype(int) - frame).max() <= (0 if bits == 16 else 129)


@pytest.mark.parametrize(
    ("container", "sound", "codec"),
    [
        ("mp4", None, "aac"),
        ("mp4", "opus", "opus"),
        ("mp4", "flac", "flac"),
        ("mkv", "pcm", "pcm_s24le"),
        ("mkv", "flac", "flac"),
        ("mov", "pcm", "pcm_s24le"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_sound_is_in_its_codec_and_lasts_as_long_as_the_picture(
    tmp_path: Path, container: str, sound: str | None, codec: str, channels: int
) -> None:
    form = Form(container=container, preset="ultrafast", sound=None if sound is None else SOUND_CODECS[sound])
    path = saved(tmp_path, form, Ramp(frames=48), audio=tone(16000, 48000, channels))

    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        assert (stream.codec_context.name.replace("lib", ""), stream.channels) == (codec, channels)
    heard = np.concatenate(list(SoundTrack.of(path).blocks()), axis=1)
    assert abs(heard.shape[1] - round(48 / RATE * 48000)) <= (1024 if codec in ("aac", "opus") else 0)
    wave = tone(16000, 48000, channels)["waveform"][0]
    full = [channel for channel in range(channels) if channel != 3]  # of 5.1 that is the one for low tones alone
    assert np.abs(heard[full, 4000:12000] - wave[full, 4000:12000]).max() < 0.1
    assert np.abs(heard[:, 20000:]).max() < 0.001


def test_opus_brings_other_rates_to_its_own(tmp_path: Path) -> None:
    path = saved(tmp_path, Form(VP9, "webm"), Ramp(frames=48), audio=tone(44100, 44100))
    track = SoundTrack.of(path)
    assert track.sample_rate == 48000
    heard = np.concatenate(list(track.blocks()), axis=1)[0, 6000:20000]
    assert np.abs(np.abs(np.fft.rfft(heard * np.hanning(len(heard)))).argmax() * 48000 / len(heard) - 440) < 4


def test_a_picture_that_moves_is_saved_without_the_sound(tmp_path: Path) -> None:
    path = saved(tmp_path, Form(GIF, "gif"), audio=tone(100, 22051))
    with av.open(str(path)) as file:
        assert not file.streams.audio


@pytest.mark.parametrize("form", [Form(H264, "mkv"), Form(AV1, "webm"), Form(H264, "mov"), Form(H265)])
def test_the_workflow_is_in_the_file(tmp_path: Path, form: Form) -> None:
    path = saved(tmp_path, form, metadata={"prompt": {"1": "Grüße"}, "workflow": {"nodes": []}})
    with av.open(str(path)) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
    assert json.loads(tags["prompt"]) == {"1": "Grüße"}
    assert json.loads(tags["workflow"]) == {"nodes": []}


@pytest.mark.parametrize("form", [Form(H264, "mkv"), Form(AV1, "webm"), Form(PNG_ZIP, "zip"), Form(GIF, "gif")])
def test_a_buffer_takes_every_form(form: Form) -> None:
    buffer = io.BytesIO()
    encode(Ramp(), buffer, form)
    assert len(buffer.getvalue()) > 1000


def test_h265_in_mp4_is_named_as_players_of_apple_want_it(tmp_path: Path) -> None:
    with av.open(str(saved(tmp_path, Form(H265)))) as file:
        assert file.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"codec": VP9, "container": "mov"}, "format: mov is given; VP9 is saved in webm, mkv, mp4"),
        ({"codec": VP9, "container": "webm", "bits": 10}, "bit_depth: 10 is given; VP9 keeps 8 bits"),
        ({"codec": AV1, "quality": 64}, "crf: 64 is given; AV1 takes 0 .best. to 63"),
        ({"codec": AV1, "preset": "placebo"}, "preset: 'placebo' is given; one of fast"),
        ({"codec": AV1, "container": "webm", "sound": SOUND_CODECS["aac"]}, "sound: AAC is given; webm holds Opus"),
        ({"codec": GIF, "container": "gif", "sound": SOUND_CODECS["aac"]}, "sound: AAC is given; gif holds no sound"),
    ],
)
def test_what_a_codec_has_not_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        Form(**settings)


@pytest.mark.parametrize(
    ("form", "source", "said"),
    [
        (Form(H264), Ramp(width=127), "127x96; H.264 needs even sides, so crop or scale it to 126x96"),
        (Form(PRORES, "mov"), Ramp(width=127, height=95), "ProRes needs even sides.*126x95"),
        (
            Form(GIF, "gif"),
            Ramp(frame_rate=Fraction(60)),
            "fps: 60 frames a second are given; GIF .gif. holds 50 at most",
        ),
        (Form(H264, "mkv"), Ramp(frame_rate=Fraction(10_000)), "fps: 10000 frames .* H.264 .mkv. holds 1000 at most"),
        (Form(VP9, "webm"), Ramp(frame_rate=Fraction(1001)), "fps: 1001 frames .* VP9 .webm. holds 1000 at most"),
        (Form(AV1), Ramp(frame_rate=Fraction(241)), "fps: 241 frames .* AV1 .mp4. holds 240 at most"),
    ],
)
def test_frames_that_a_form_cannot_hold_are_refused(tmp_path: Path, form: Form, source: Ramp, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        encode(source, tmp_path / "film", form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [Form(FFV1, "mkv"), Form(APNG, "apng"), Form(GIF, "gif"), Form(PNG_ZIP, "zip")])
def test_odd_sides_are_kept_where_they_can_be(tmp_path: Path, form: Form) -> None:
    path = saved(tmp_path, form, Ramp(width=97, height=65))
    if form.codec is not PNG_ZIP:
        assert (VideoFile(path).width, VideoFile(path).height) == (97, 65)


def test_an_encoder_without_its_hardware_is_refused_before_a_file_is_begun(tmp_path: Path) -> None:
    missing = [codec for codec in HARDWARE if not works(codec)]
    if not missing:
        pytest.skip("this computer has every kind of graphics card")
    with pytest.raises(Refusal, match="does not work on this computer"):
        encode(Ramp(), tmp_path / "film.mp4", Form(missing[0]))
    assert list(tmp_path.iterdir()) == []


def test_every_encoder_in_software_works() -> None:
    assert [codec.title for codec in CODECS.values() if not codec.hardware and not works(codec)] == []
