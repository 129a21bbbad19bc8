from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from longtake.pipelines.errors import Refusal
from longtake.pipelines.media.codecs import Form
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.video_file import SoundTrack, VideoFile

from .test_encode import Gray, tone

LEVELS = [(37 * i) % 256 for i in range(60)]


def levels(video, start=0, stop=None) -> list[int]:
    return [round(int(frame[8, 8, 0]) / 257) for frame in video.frames(start, stop)]


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    encode(Gray(LEVELS), path, Form(quality=1), audio=tone(60_000, 16000))
    return path


def near(read: list[int], given: list[int]) -> bool:
    return len(read) == len(given) and max(abs(a - b) for a, b in zip(read, given, strict=True)) <= 2


def test_a_file_is_read_back_frame_for_frame(film):
    video = VideoFile(film)

    assert (video.frame_count, video.width, video.height, video.frame_rate) == (60, 64, 32, 16)
    assert near(levels(video), LEVELS)


@pytest.mark.parametrize("start", [0, 1, 7, 30, 59])
def test_reading_from_the_middle_gives_the_same_frames(film, start):
    assert near(levels(VideoFile(film), start), LEVELS[start:])


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (0, 1), (1, 4), (3, 7), (6, 7)])
def test_of_frames_that_share_a_time_one_is_shown(tmp_path, start, stop):
    """Matroska counts milliseconds: of 12 frames at 2,000 a second two and two are shown at once."""
    path = tmp_path / "fast.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=2000)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "bgr0"
        for number in range(12):
            grey = av.VideoFrame.from_ndarray(np.full((32, 64, 3), 20 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(grey.reformat(format="bgr0")))
        container.mux(stream.encode(None))

    video = VideoFile(path)
    assert video.frame_count == len(video.times) == 7
    assert levels(video, start, stop) == [0, 20, 60, 100, 140, 180, 220][start:stop]


def test_a_trimmed_file_gives_the_frames_in_its_window(film):
    video = VideoFile(film, start_time=0.5, duration=1.0)

    assert video.frame_count == 16
    assert near(levels(video), LEVELS[8:24])


def test_sound_is_trimmed_with_the_picture(film):
    sound = SoundTrack.of(film, 0.5, 1.0)

    heard = np.concatenate(list(sound.blocks()), axis=1)

    assert heard.shape == (2, 16000)
    assert np.abs(heard - tone(60_000, 16000)["waveform"][0, :, 8000:24000]).max() < 0.05


def test_picture_and_sound_of_one_buffer_can_be_read_side_by_side(film):
    import io

    buffer = io.BytesIO(film.read_bytes())
    pictures, sound = VideoFile(buffer).frames(), SoundTrack.of(buffer).blocks()

    read = [next(pictures)[0, 0, 0] for _ in range(10) if next(sound) is not None]

    assert near([round(int(value) / 257) for value in read], LEVELS[:10])


LOSSLESS = {"qp": "0", "preset": "ultrafast"}
FORMATS = {
    # pixel format, tags, codes of black and white
    "bt709 limited": ("yuv420p", (Colorspace.ITU709, ColorRange.MPEG), 16, 235),
    "bt709 full": ("yuv420p", (Colorspace.ITU709, ColorRange.JPEG), 0, 255),
    "untagged": ("yuv420p", None, 16, 235),
    "10 bit": ("yuv420p10le", (Colorspace.ITU709, ColorRange.MPEG), 64, 940),
    "10 bit full": ("yuv420p10le", (Colorspace.ITU709, ColorRange.JPEG), 0, 1023),
}


def gray_ramp(width: int, pix_fmt: str, black: int, white: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, 32, pix_fmt)
    deep = pix_fmt.endswith("10le")
    ramp = np.rint(np.linspace(black, white, width))
    for plane, code in zip(frame.planes, (ramp, 512 if deep else 128, 512 if deep else 128), strict=True):
        samples = np.zeros((plane.height, plane.line_size // (1 + deep)), np.uint16 if deep else np.uint8)
        samples[:, : plane.width] = code
        plane.update(samples.tobytes())
    return frame


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("width", [256, 250])
def test_black_white_and_every_gray_between_come_back(tmp_path, kind, width):
    pix_fmt, tags, black, white = FORMATS[kind]
    with av.open(str(tmp_path / "ramp.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=16, options=LOSSLESS)
        stream.width, stream.height, stream.pix_fmt = width, 32, pix_fmt
        if tags:
            stream.codec_context.colorspace, stream.codec_context.color_range = tags
        container.mux(stream.encode(gray_ramp(width, pix_fmt, black, white)))
        container.mux(stream.encode(None))

    read = next(VideoFile(tmp_path / "ramp.mp4").frames())

    given = (np.rint(np.linspace(black, white, width)) - black) / (white - black)
    assert np.abs(read[16] / 65535 - given[:, None]).max() * 255 < 0.1
    assert read[16, -1].tolist() == [65535, 65535, 65535]


def test_eight_bit_rgb_comes_back_exactly(tmp_path):
    given = np.random.default_rng(0).integers(0, 256, (32, 50, 3), np.uint8)
    with av.open(str(tmp_path / "rgb.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.width, stream.height, stream.pix_fmt = 50, 32, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(given, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))

    read = next(VideoFile(tmp_path / "rgb.mkv").frames())

    assert np.array_equal(read, given * np.uint16(257))


def test_a_file_without_video_is_refused(tmp_path):
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(Refusal, match=r"sound\.m4a holds no video"):
        VideoFile(path)


def test_a_window_past_the_end_is_refused(film):
    with pytest.raises(Refusal, match="no frame between"):
        VideoFile(film, start_time=100)


@pytest.mark.parametrize("kept", [0.4, 0.6, 0.75])
def test_a_file_cut_short_is_refused_and_not_read_as_a_shorter_one(film, tmp_path, kept):
    content = film.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(len(content) * kept)])

    with pytest.raises(Refusal, match=r"cut\.mp4 is .*cut short"):
        VideoFile(tmp_path / "cut.mp4")


def test_a_damaged_frame_is_refused(film, tmp_path):
    content = bytearray(film.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:-200] = np.random.default_rng(0).bytes(len(content) - 200 - start)
    (tmp_path / "damaged.mp4").write_bytes(content)

    with pytest.raises(Refusal, match=r"damaged\.mp4 is damaged"):
        levels(VideoFile(tmp_path / "damaged.mp4"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video",
        bytes(range(256)) * 64,
        b"\x1aE\xdf\xa3" + b"\0" * 500,
        b"RIFF\xff\xff\0\0AVI LIST" + b"\0" * 500,
    ],
    ids=["empty", "text", "noise", "a torn matroska", "a torn avi"],
)
def test_a_file_that_is_no_video_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "film.mkv").write_bytes(content)

    for read in (VideoFile, SoundTrack.of):
        with pytest.raises(Refusal, match=r"video: film\.mkv cannot be read as a video \(.+\)$"):
            read(tmp_path / "film.mkv")


def test_a_video_that_is_gone_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(Refusal, match=r"gone\.mp4 cannot be read as a video \(No such file or directory\)"):
        VideoFile(tmp_path / "gone.mp4")


def test_a_film_without_sound_has_no_track(tmp_path):
    encode(Gray([1, 2]), tmp_path / "silent.mp4")

    assert SoundTrack.of(tmp_path / "silent.mp4") is None


def test_a_film_loses_no_light_over_ten_generations(tmp_path):
    video = Gray(range(0, 256, 5), frame_rate=Fraction(24))
    for generation in range(10):
        encode(video, tmp_path / f"{generation}.mp4", Form(quality=4, preset="ultrafast"))
        video = VideoFile(tmp_path / f"{generation}.mp4")

    read = np.array([frame[16, 32, 0] / 257 for frame in video.frames()])
    assert abs((read - np.arange(0, 256, 5)).mean()) < 0.5
