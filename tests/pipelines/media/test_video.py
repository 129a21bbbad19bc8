import inspect
import io
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.media.codecs import Form
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.sound import Waveform
from longtake.pipelines.media.video_file import SoundTrack, VideoFile

from .test_encode import Gray, tone
from .test_video_file import LEVELS, levels, near


class Watched(Gray):
    """A film that counts the frames it was asked for."""

    read = 0

    def frames(self, start=0, stop=None):
        for frame in super().frames(start, stop):
            self.read += 1
            yield frame


@pytest.fixture
def video(comfyui):
    from longtake.host.progress import watch_encoding
    from longtake.pipelines.media.video import LazyVideo

    return LazyVideo(Watched(LEVELS), Waveform(tone(60_000, 16000)), watch_encoding)


def test_facts_are_known_without_reading_a_frame(video):
    assert video.get_dimensions() == (64, 32)
    assert video.get_frame_count() == 60
    assert video.get_frame_rate() == 16
    assert video.get_duration() == 3.75
    assert video.get_bit_depth() == 8
    assert "mp4" in video.get_container_format()
    assert video.source.read == 0


def test_components_are_the_frames_as_images(video):
    components = video.get_components()

    assert components.images.shape == (60, 32, 64, 3)
    assert [round(float(image[0, 0, 0]) * 255, 3) for image in components.images] == LEVELS
    assert components.frame_rate == 16
    assert components.audio["waveform"].shape == (1, 2, 60_000)


def test_core_save_video_saves_it(video, comfyui):
    from comfy_api.latest import io
    from comfy_extras.nodes_video import SaveVideo

    codec = next(input for input in SaveVideo.define_schema().inputs if input.id == "codec")
    automatic = {"codec": "auto"} if isinstance(codec, io.DynamicCombo.Input) else "auto"  # before ComfyUI 0.30
    node = SaveVideo.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    result = node.execute(video, "core/film", "auto", automatic)

    (saved,) = result.ui.as_dict()["images"]
    file = comfyui / "output" / saved["subfolder"] / saved["filename"]
    assert near(levels(VideoFile(file)), LEVELS)
    assert SoundTrack.of(file).sample_rate == 16000


def test_core_save_video_s_crf_reaches_the_encoder(video, tmp_path):
    video.save_to(str(tmp_path / "fine.mp4"), crf=4.0)
    video.save_to(str(tmp_path / "coarse.mp4"), crf=45.0)

    assert (tmp_path / "fine.mp4").stat().st_size > (tmp_path / "coarse.mp4").stat().st_size


@pytest.mark.parametrize(("asked", "container"), [({}, "mov"), ({"format": "mkv", "codec": "auto"}, "matroska")])
def test_it_can_be_saved_into_a_buffer(video, asked, container):
    """As mkv ComfyUI newer than 0.30 wants it, to join it with others."""
    buffer = io.BytesIO()

    video.save_to(buffer, **asked)

    buffer.seek(0)
    with av.open(buffer) as file:
        assert file.format.name.split(",")[0] == container
        assert sum(1 for _ in file.decode(video=0)) == 60


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "avi"}, "format: avi is given; a film is saved as mp4, mkv"),
        ({"codec": "mpeg2"}, "codec: mpeg2 is given; a film is saved with h264"),
        ({"codec": "vp9", "format": "mov"}, "filename_prefix: film.mp4 is no name for an mov file"),
        ({"bit_depth": 12}, "bit_depth: 12 is given; H.264 keeps 8 or 10 bits"),
        ({"color_space": "HDR PQ"}, "color_space: HDR PQ is given"),
        ({"preset": "placebo"}, "preset: 'placebo'"),
        ({"crf": 99.0}, "crf: 99"),
    ],
)
def test_what_cannot_be_written_is_refused(video, tmp_path, settings, said):
    with pytest.raises(Refusal, match=said):
        video.save_to(str(tmp_path / "film.mp4"), **settings)


def test_a_name_of_another_format_is_refused(video, tmp_path):
    with pytest.raises(Refusal, match=r"film\.webm is no name for an mp4"):
        video.save_to(str(tmp_path / "film.webm"), format="mp4")
    with pytest.raises(Refusal, match="format: txt is given"):
        video.save_to(str(tmp_path / "film.txt"))


@pytest.mark.parametrize(
    ("name", "asked", "codec", "pixels"),
    [
        ("film.mp4", {}, "h264", "yuv420p"),
        ("film.m4v", {}, "h264", "yuv420p"),
        ("film.mkv", {}, "h264", "yuv420p"),
        ("film.webm", {}, "av1", "yuv420p"),
        ("film.mp4", {"format": "mp4", "codec": "av1", "crf": 40.0, "preset": "ultrafast"}, "av1", "yuv420p"),
        ("film.webm", {"format": "webm", "codec": "vp9"}, "vp9", "yuv420p"),
        ("film.mp4", {"codec": "hevc", "bit_depth": 10}, "hevc", "yuv420p10le"),
        ("film.mp4", {"bit_depth": 10, "preset": "veryfast", "color_space": "sRGB"}, "h264", "yuv420p10le"),
        ("film", {"format": "mkv", "color_space": None, "quality_of_next_year": 7}, "h264", "yuv420p"),
    ],
)
def test_it_is_saved_as_any_comfyui_asks(video, tmp_path, name, asked, codec, pixels):
    video.save_to(str(tmp_path / name), metadata={"prompt": {}}, **asked)

    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name.replace("libdav1d", "av1") == codec
        assert stream.codec_context.pix_fmt == pixels
        assert stream.average_rate == 16
    film = VideoFile(tmp_path / name)
    assert near(levels(film), LEVELS)


# Parameters of ComfyUI's VideoInput by method, in order, as of Comfy-Org/ComfyUI at df63641786f4 (2026).
NEWEST = {
    "get_components": [],
    "save_to": ["path", "format", "codec", "metadata", "bit_depth", "crf", "color_space", "preset"],
    "get_color_space": [],
    "as_trimmed": ["start_time", "duration", "strict_duration"],
    "as_cropped": ["x", "y", "width", "height"],
    "as_resized": ["width", "height", "upscale_method", "crop", "post_crop"],
    "get_stream_source": [],
    "has_pending_frame_edits": [],
    "get_active_trim_window": [],
    "get_dimensions": [],
    "get_bit_depth": [],
    "get_duration": [],
    "get_frame_count": [],
    "get_frame_rate": [],
    "get_container_format": [],
}


@pytest.mark.parametrize("name", NEWEST)
def test_it_has_what_the_newest_comfyui_calls(video, name):
    signature = inspect.signature(getattr(video, name))
    signature.bind(*NEWEST[name])
    signature.bind(**dict.fromkeys(NEWEST[name]))
    assert [parameter for parameter in signature.parameters if parameter != "unknown"] == NEWEST[name]


def test_a_cropped_video_is_a_part_of_each_frame_and_reads_none(comfyui):
    from longtake.pipelines.media.video import LazyVideo

    class Columns(Watched):
        def frames(self, start=0, stop=None):
            for frame in super().frames(start, stop):
                yield frame + np.arange(64, dtype=np.uint16)[None, :, None]

    video = LazyVideo(Columns(LEVELS))
    cropped = video.as_cropped(7, 3, 21, 11)

    assert video.source.read == 0
    assert cropped.get_dimensions() == (20, 10)  # even numbers, from (6, 2) on
    [frame] = cropped.source.frames(1, 2)
    assert frame[0, 0, 0] == LEVELS[1] * 257 + 6
    assert cropped.as_trimmed(0.5, 1.0).get_dimensions() == (20, 10)
    assert video.as_cropped(0, 0, 64, 32) is video.as_cropped() is video
    assert video.as_cropped(60, 0, 500, 500).get_dimensions() == (4, 32)


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "lanczos"])
def test_a_resized_video_is_scaled_as_comfyui_scales_images(comfyui, method):
    from comfy.utils import common_upscale
    from longtake.pipelines.media.frames import Images
    from longtake.pipelines.media.video import LazyVideo

    images = torch.rand(3, 32, 64, 3, generator=torch.manual_seed(1))
    video = LazyVideo(Images(images, Fraction(16))).as_resized(40, 40, method, "center", (4, 2, 30, 20))

    expected = common_upscale(images.movedim(-1, 1), 40, 40, method, "center").movedim(1, -1)[:, 2:22, 4:34]
    assert video.get_dimensions() == (30, 20)
    assert (video.get_components().images - expected.clamp(0, 1)).abs().max() < 0.005


def test_a_video_with_edits_that_its_file_has_not_is_read_with_them(video, comfyui, tmp_path):
    from comfy_api.latest import InputImpl, Types
    from longtake.pipelines.media.video import frames_and_sound

    class Edited(InputImpl.VideoFromFile):
        """As ComfyUI's own videos are from 0.36 on, once they are cropped."""

        def has_pending_frame_edits(self):
            return True

        def get_components(self):
            whole = super().get_components()
            return Types.VideoComponents(images=whole.images[:, :16], audio=whole.audio, frame_rate=whole.frame_rate)

    video.save_to(str(tmp_path / "film.mp4"))
    source, sound = frames_and_sound(Edited(str(tmp_path / "film.mp4")))
    assert (source.width, source.height) == (64, 16)
    assert sound is not None


def test_a_stream_source_is_one_file_in_the_temp_folder(video, comfyui):
    path = video.get_stream_source()

    assert Path(path).parent == comfyui / "temp"
    assert video.get_stream_source() == path
    os.remove(path)
    assert VideoFile(video.get_stream_source()).frame_count == 60


@pytest.mark.parametrize(
    ("start", "duration", "first", "stop"),
    [(0, 0, 0, 60), (0.5, 1.0, 8, 24), (None, None, 0, 60), (-1.0, 0, 44, 60), (-1.0, 0.5, 44, 52), (0.1, 0.1, 2, 4)],
)
def test_a_trimmed_video_is_the_frames_in_its_window(video, start, duration, first, stop):
    trimmed = video.as_trimmed(start, duration)

    assert levels(trimmed.source) == LEVELS[first:stop]
    assert sum(block.shape[1] for block in trimmed.sound.blocks()) == (stop - first) * 1000


@pytest.mark.parametrize("window", [(0.0, 0.0), (0.5, 1.0), (1.0, 0.0), (-1.0, 0.0), (0.25, 0.1)])
def test_trimming_counts_frames_as_comfyui_counts_them(video, window, tmp_path):
    from comfy_api.latest import InputImpl

    video.save_to(str(tmp_path / "film.mp4"))
    stock = InputImpl.VideoFromFile(str(tmp_path / "film.mp4")).as_trimmed(*window, strict_duration=False)

    assert video.as_trimmed(*window).get_frame_count() == len(stock.get_components().images)


def test_a_window_past_the_end_gives_no_video(video):
    assert video.as_trimmed(10.0, 1.0) is None
    assert video.as_trimmed(3.0, 2.0, strict_duration=True) is None
    assert video.as_trimmed(3.0, 2.0).get_frame_count() == 12


def test_any_video_of_comfyui_is_read_as_frames(video, comfyui, tmp_path):
    import torch
    from comfy_api.latest import InputImpl, Types
    from longtake.pipelines.media.video import frames_and_sound

    encode(Gray(LEVELS), tmp_path / "film.mp4", Form(quality=1), audio=tone(60_000, 16000))
    images = torch.tensor(LEVELS).reshape(-1, 1, 1, 1).expand(-1, 32, 64, 3) / 255
    components = Types.VideoComponents(images=images, frame_rate=Fraction(16), audio=tone(60_000, 16000))
    kinds = [
        video,
        InputImpl.VideoFromFile(str(tmp_path / "film.mp4")),
        InputImpl.VideoFromFile(io.BytesIO((tmp_path / "film.mp4").read_bytes())),
        InputImpl.VideoFromComponents(components),
    ]

    for kind in kinds:
        frames, sound = frames_and_sound(kind)
        assert near(levels(frames), LEVELS)
        assert frames.frame_rate == 16
        assert next(sound.blocks()).shape[0] == 2


def test_a_trimmed_file_is_read_trimmed(comfyui, tmp_path):
    from comfy_api.latest import InputImpl
    from longtake.pipelines.media.video import frames_and_sound

    encode(Gray(LEVELS), tmp_path / "film.mp4", Form(quality=1), audio=tone(60_000, 16000))

    frames, sound = frames_and_sound(InputImpl.VideoFromFile(str(tmp_path / "film.mp4"), start_time=0.5, duration=1))

    assert near(levels(frames), LEVELS[8:24])
    assert np.concatenate(list(sound.blocks()), axis=1).shape == (2, 16000)


def test_the_host_s_cancel_stops_saving_and_leaves_nothing(video, comfyui, tmp_path):
    import comfy.model_management

    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        video.save_to(str(tmp_path / "film.mp4"))

    assert list(tmp_path.iterdir()) == []
