import io
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.media.codecs import CODECS, GIF, PNG_ZIP, Form
from longtake.pipelines.media.encode import BT709, LIMITED, encode
from longtake.pipelines.media.frames import to_uint8
from longtake.pipelines.media.pixels import to_pixels
from longtake.pipelines.media.sound import SoundExcerpt, Waveform
from longtake.pipelines.media.video_file import SoundTrack, VideoFile

ROOT = Path(__file__).resolve().parents[3]
FAST = Form(preset="ultrafast")
RATES = [Fraction(16), Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(10_000)]
USUAL_RATES = RATES[:-1]


class Gray:
    """A film of gray frames, frame i at the 8-bit level given for it."""

    def __init__(self, levels, width=64, height=32, frame_rate=Fraction(16)):
        self.levels = list(levels)
        self.width, self.height, self.frame_rate = width, height, frame_rate
        self.frame_count = len(self.levels)

    def frames(self, start=0, stop=None):
        for level in self.levels[start:stop]:
            yield np.full((self.height, self.width, 3), level * 257, np.uint16)


def stream_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0]


def pictures(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("rate", RATES)
def test_every_frame_lies_on_its_own_time(tmp_path, rate):
    film = tmp_path / "film.mp4"

    written = encode(Gray(range(0, 200, 2), frame_rate=rate), film, FAST)

    assert written == 100
    assert stream_of(film).frames == 100
    assert stream_of(film).average_rate == rate
    assert [frame.pts * frame.time_base * rate for frame in pictures(film)] == list(range(100))


def test_frames_keep_their_order_through_b_frames(tmp_path):
    film = tmp_path / "film.mp4"

    encode(Gray([10, 200, 60, 120, 30, 250, 90, 170] * 6), film, Form(quality=1))

    levels = [int(frame[8, 8, 0]) / 257 for frame in VideoFile(film).frames()]
    assert np.abs(np.array(levels) - [10, 200, 60, 120, 30, 250, 90, 170] * 6).max() < 2


def test_the_file_says_bt709_and_limited_range(tmp_path):
    film = tmp_path / "film.mp4"

    encode(Gray([128]), film)

    codec = stream_of(film).codec_context
    assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (BT709, BT709, BT709)
    assert codec.color_range == LIMITED
    assert codec.pix_fmt == "yuv420p"


def test_primary_colours_come_back_with_the_matrix_the_file_names(tmp_path):
    film = tmp_path / "film.mp4"
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 60, 30), (255, 255, 255), (0, 0, 0)]

    class Colours(Gray):
        def frames(self, start=0, stop=None):
            for colour in colours[start:stop]:
                yield np.full((self.height, self.width, 3), colour, np.uint16) * np.uint16(257)

    encode(Colours(range(len(colours))), film, Form(quality=0))

    read = [frame[16, 32] / 257 for frame in VideoFile(film).frames()]
    assert np.abs(np.array(read) - colours).max() < 2


def test_luma_is_rounded_and_not_cut_off():
    ramp = np.arange(65536, dtype=np.uint16).reshape(128, 512, 1).repeat(3, axis=2)

    luma = to_pixels("yuv420p")(to_uint8(ramp)).to_ndarray()[:128]

    exact = 16 + 219 * (ramp[..., 0] / 65535)
    assert abs((luma - exact).mean()) < 0.05
    assert np.abs(luma - exact).max() < 1.1  # half a step to 8-bit RGB, half a step to luma


def test_a_saved_and_loaded_film_is_no_darker(tmp_path):
    film = tmp_path / "film.mp4"

    encode(Gray(range(256)), film, Form(quality=0, preset="ultrafast"))

    read = np.array([frame[16, 32, 0] / 257 for frame in VideoFile(film).frames()])
    assert abs((read - np.arange(256)).mean()) < 0.05
    assert read[0] == 0
    assert read[255] == 255


def test_metadata_is_written_as_comfyui_writes_it(tmp_path):
    film = tmp_path / "film.mp4"
    prompt = {"1": {"class_type": "LongtakeEncodeVideo", "inputs": {"text": "Grüße"}}}

    encode(Gray([0]), film, metadata={"prompt": prompt, "workflow": {"nodes": [], "version": 0.4}})

    with av.open(str(film)) as container:
        assert json.loads(container.metadata["prompt"]) == prompt
        assert json.loads(container.metadata["workflow"]) == {"nodes": [], "version": 0.4}


def boxes(path) -> list[str]:
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found.append(content[at + 4 : at + 8].decode())
        at += size
    return found


def test_the_index_lies_before_the_pictures(tmp_path):
    film = tmp_path / "film.mp4"

    encode(Gray(range(20)), film)

    assert boxes(film).index("moov") < boxes(film).index("mdat")


def test_a_film_can_be_written_into_a_buffer():
    buffer = io.BytesIO()

    encode(Gray(range(10)), buffer)

    assert VideoFile(buffer).frame_count == 10


def test_a_buffer_is_left_as_it_was_when_the_encoding_fails():
    buffer = io.BytesIO(b"before")
    buffer.seek(6)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(Gray(range(10)), buffer, progress=stop)

    assert buffer.getvalue() == b"before"


def test_progress_counts_every_frame(tmp_path):
    told = []

    encode(Gray(range(5)), tmp_path / "film.mp4", progress=lambda done, total: told.append((done, total)))

    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_cancelled_encoding_leaves_nothing(tmp_path):
    def cancel(done, total):
        if done == 40:
            raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        encode(Gray(range(100)), tmp_path / "film.mp4", progress=cancel)

    assert list(tmp_path.iterdir()) == []


def test_a_failed_encoding_leaves_the_earlier_film_alone(tmp_path):
    film = tmp_path / "film.mp4"
    encode(Gray([1]), film)
    before = film.read_bytes()

    def fail(done, total):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        encode(Gray(range(10)), film, progress=fail)

    assert film.read_bytes() == before


class Noise(Gray):
    """A film that no encoder makes small."""

    def frames(self, start=0, stop=None):
        rng = np.random.default_rng(0)
        for _ in self.levels[start:stop]:
            yield rng.integers(0, 65536, (self.height, self.width, 3)).astype(np.uint16)


@pytest.mark.parametrize("codec", [codec for codec in CODECS.values() if not codec.hardware], ids=lambda it: it.name)
def test_a_disk_that_is_full_for_the_film_is_said_so_and_nothing_is_left(small_disk, codec):
    form = Form(codec, codec.containers[0], preset="ultrafast" if "ultrafast" in codec.presets else "")
    with pytest.raises(Refusal, match=r"the disk that holds .* is full"):
        encode(Noise(range(24), 160, 128), small_disk / "film", form, audio=tone(96_000, 48_000))
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_so(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for form in (FAST, Form(GIF, "gif"), Form(PNG_ZIP, "zip")):
        with pytest.raises(Refusal, match=r"the folder .* cannot be written .Read-only file system."):
            encode(Gray([0]), small_disk / f"film.{form.container}", form)


KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from tests.run import name_packages
name_packages()
from tests.pipelines.media.test_encode import FAST, Gray
from longtake.pipelines.media.encode import encode
def die(done, total):
    if done == 150: os.kill(os.getpid(), 9)
encode(Gray(range(200)), sys.argv[1], FAST, progress=die)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_killed_process_leaves_no_file_under_the_final_name_and_the_next_film_removes_the_rest(tmp_path):
    film = tmp_path / "film.mp4"

    killed = subprocess.run([sys.executable, "-c", KILLED.format(root=str(ROOT)), str(film)])

    assert killed.returncode == -9
    assert not film.exists()
    [left] = tmp_path.iterdir()
    os.utime(left, (0, 0))
    encode(Gray(range(10)), film, FAST)
    assert list(tmp_path.iterdir()) == [film]


@pytest.mark.parametrize(("width", "height"), [(63, 32), (64, 31)])
def test_odd_sides_are_refused(tmp_path, width, height):
    with pytest.raises(Refusal, match="even sides"):
        encode(Gray([0], width, height), tmp_path / "film.mp4")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quality": 52}, "crf: 52"),
        ({"quality": float("nan")}, "crf: nan"),
        ({"preset": "best"}, "preset: 'best'"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_file_is_begun(tmp_path, settings, said):
    with pytest.raises(Refusal, match=said):
        encode(Gray([0]), tmp_path / "film.mp4", Form(**settings))

    assert list(tmp_path.iterdir()) == []


def test_a_film_without_frames_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no frames"):
        encode(Gray([]), tmp_path / "film.mp4")


def tone(samples: int, rate: int, channels: int = 2) -> dict:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)
    return {"waveform": np.broadcast_to(wave, (1, channels, samples)).astype(np.float32), "sample_rate": rate}


@pytest.mark.parametrize("rate", USUAL_RATES)
@pytest.mark.parametrize(("sample_rate", "channels"), [(48000, 2), (44100, 1), (16000, 2)])
@pytest.mark.parametrize("seconds", [1, 10])
def test_sound_is_as_long_as_the_picture_to_the_sample(tmp_path, rate, sample_rate, channels, seconds):
    film = tmp_path / "film.mp4"

    encode(Gray(range(41), frame_rate=rate), film, audio=tone(seconds * sample_rate, sample_rate, channels))

    with av.open(str(film)) as container:
        sound = container.streams.audio[0]
        assert sound.duration * sound.time_base * sample_rate == round(41 / rate * sample_rate)
        assert (sound.rate, sound.channels, sound.start_time) == (sample_rate, channels, 0)


def test_sound_keeps_its_place_and_ends_in_silence(tmp_path):
    film = tmp_path / "film.mp4"
    audio = tone(16000, 16000)

    encode(Gray(range(48)), film, audio=audio)  # 3 s of picture, 1 s of sound

    heard = np.concatenate(list(SoundTrack.of(film).blocks()), axis=1)
    assert np.abs(heard[:, 2000:14000] - audio["waveform"][0, :, 2000:14000]).max() < 0.05
    assert np.abs(heard[:, 20000:]).max() < 0.001


def test_sound_lies_beside_its_picture_in_the_file(tmp_path):
    film = tmp_path / "film.mp4"

    encode(Gray(list(range(0, 250)) * 4), film, FAST, audio=tone(63 * 16000, 16000))

    with av.open(str(film)) as container:
        first = {}
        for packet in container.demux():
            if packet.pos is not None:
                first.setdefault((packet.stream.type, int((packet.pts or 0) * packet.time_base)), packet.pos)
    sound = [position for (kind, second), position in sorted(first.items()) if kind == "audio"]
    picture = [position for (kind, second), position in sorted(first.items()) if kind == "video"]
    # within two seconds of each other all the way
    assert all(picture[second] < sound[second + 2] for second in range(60))
    assert all(sound[second] < picture[second + 2] for second in range(60))


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (tone(100, 22051), "22051 samples a second"),
        (tone(100, 48000, 3), "3 channels"),
        ({"waveform": np.zeros((2, 1, 100), np.float32), "sample_rate": 48000}, "one piece"),
    ],
)
def test_sound_that_aac_cannot_hold_is_refused(tmp_path, audio, said):
    with pytest.raises(Refusal, match=said):
        encode(Gray([0]), tmp_path / "film.mp4", audio=audio)


def test_sound_with_nan_is_refused_and_leaves_nothing(tmp_path):
    audio = tone(16000, 16000)
    audio["waveform"] = audio["waveform"].copy()
    audio["waveform"][0, 0, 5000] = np.nan

    with pytest.raises(Refusal, match="not finite"):
        encode(Gray(range(48)), tmp_path / "film.mp4", audio=audio)

    assert list(tmp_path.iterdir()) == []


def test_a_sound_excerpt_is_the_samples_between():
    ramp = {"waveform": np.arange(200_000, dtype=np.float32).reshape(1, 1, -1), "sample_rate": 48000}

    piece = np.concatenate(list(SoundExcerpt(Waveform(ramp), 65_000, 140_000).blocks()), axis=1)

    assert np.array_equal(piece, ramp["waveform"][0, :, 65_000:140_000])
