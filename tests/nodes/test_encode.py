import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.media.video_file import SoundTrack, VideoFile
from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition
from longtake.pipelines.timeline.plan import plan_clip
from PIL import Image

PROMPT = {"1": {"class_type": "LongtakeEncodeVideo", "inputs": {}}}
WORKFLOW = {"nodes": [{"id": 1}]}
PROMPTS = ["a fox in the snow, Süden", "the fox turns\nand looks at us"]


@pytest.fixture
def encode(comfyui):
    """Encode Video as the host calls it, with a prompt and a workflow in hand."""
    from longtake.nodes.encode import EncodeVideo

    hidden = {"PROMPT": PROMPT, "EXTRA_PNGINFO": {"workflow": WORKFLOW}}
    node = EncodeVideo.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})

    def call(**inputs):
        usual = {"fps": 16.0, "filename_prefix": "film", "crf": 4.0, "preset": "ultrafast", "format": {"format": "mp4"}}
        return node.execute(**(usual | inputs))

    return call


@pytest.fixture
def chain(tmp_path):
    """Two stages of 9 and 13 frames joined over 5, their frames on disk: frame i of stage s is gray s * 100 + i."""

    class StoredTake:
        key = "0" * 64

        def __init__(self, stage: int, frames: int):
            self.stage = stage
            self.frames_path, self.sound_path = tmp_path / f"{stage}.npy", tmp_path / f"{stage}.sound"
            levels = (np.arange(frames) + 100 * stage).astype(np.uint16) * 257
            np.save(self.frames_path, np.broadcast_to(levels[:, None, None, None], (frames, 32, 64, 3)))

        def audio(self) -> None:
            return None

        def facts(self) -> dict[str, Any]:
            return {"prompt": PROMPTS[self.stage], "negative_prompt": "blur", "seed": 7 + self.stage}

    clips: list[Clip] = []
    for frames, join in ((9, Join()), (13, Join(Transition.SMOOTH, overlap=5))):
        clips.append(plan_clip(clips, Length(frames=frames), join, Grid(4), Fraction(16)))
    links = tuple(
        Link(clip, StoredTake(stage, clip.frames), SimpleNamespace(vae="vae", tiled=False))
        for stage, clip in enumerate(clips)
    )
    return Chain("wan22", 64, 32, Fraction(16), links)


FILM = [*range(0, 9), *range(105, 113)]


def gray_images(levels) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 32, 64, 3) / 255


def levels_of(path) -> list[int]:
    return [round(int(frame[8, 8, 0]) / 257) for frame in VideoFile(path).frames()]


def test_a_stitched_chain_is_encoded_with_its_workflow(chain, encode):
    from longtake.nodes.stitch import StitchChain

    (video,) = StitchChain.execute(chain).args
    saved, path = encode(video=video).args

    assert np.abs(np.array(levels_of(path)) - FILM).max() <= 2
    assert saved.get_frame_count() == len(FILM)
    with av.open(path) as container:
        assert json.loads(container.metadata["prompt"]) == PROMPT
        assert json.loads(container.metadata["workflow"]) == WORKFLOW


def test_a_film_delivered_before_needs_no_frame_of_its_takes(chain, encode):
    from longtake.nodes.stitch import StitchChain

    _, first = encode(video=StitchChain.execute(chain).args[0]).args
    for link in chain.links:
        link.take.frames_path.unlink()
    _, again = encode(video=StitchChain.execute(chain).args[0]).args

    assert again != first
    assert levels_of(again) == levels_of(first)


def test_the_film_is_shown_on_the_node(encode, comfyui):
    result = encode(images=gray_images([1, 2, 3]), filename_prefix="shown/film")

    assert result.ui.as_dict() == {
        "images": [{"filename": "film_00001_.mp4", "subfolder": "shown", "type": "output"}],
        "animated": (True,),
    }
    assert (comfyui / "output" / "shown" / "film_00001_.mp4").is_file()


@pytest.mark.parametrize(
    ("format", "suffix"),
    [
        ({"format": "mp4"}, "mp4"),
        (
            {"format": "H.264", "container": "mkv", "quality": 20.0, "preset": "fast", "bits": "10", "sound": "flac"},
            "mkv",
        ),
        ({"format": "AV1", "container": "webm", "quality": 30.0, "preset": "fast", "sound": "automatic"}, "webm"),
        ({"format": "ProRes", "container": "mov", "preset": "proxy", "sound": "pcm"}, "mov"),
        ({"format": "GIF"}, "gif"),
        ({"format": "animated WebP", "quality": 80.0}, "webp"),
        ({"format": "APNG", "bits": "8"}, "apng"),
        ({"format": "PNG files in a ZIP", "bits": "16"}, "zip"),
    ],
)
def test_a_film_is_saved_in_the_format_asked_for_and_handed_on(encode, format, suffix):
    audio = {"waveform": torch.zeros(1, 2, 48000), "sample_rate": 48000}
    video, path = encode(images=gray_images([10, 200, 90] * 4), audio=audio, format=format).args

    assert path.endswith(f"_00001_.{suffix}") or path.endswith(f".{suffix}")
    assert video.get_frame_count() == 12
    assert video.get_dimensions() == (64, 32)


def test_every_format_offered_is_one_that_works(comfyui):
    from longtake.nodes.encode import EncodeVideo
    from longtake.pipelines.media.codecs import CODECS, works

    [format] = [each for each in EncodeVideo.define_schema().inputs if each.id == "format"]
    titles = [option.key for option in format.options]
    assert titles[0] == "mp4"
    assert {codec.title for codec in CODECS.values() if not codec.hardware} <= set(titles)
    assert all(works(codec) for codec in CODECS.values() if codec.title in titles)


def test_a_format_that_there_is_not_is_refused(encode):
    with pytest.raises(
        Refusal, match=r"format: 'Betamax' is given; one of mp4, H\.264, .* PNG files in a ZIP is needed"
    ):
        encode(images=gray_images([1]), format={"format": "Betamax"})


def test_each_film_gets_a_name_of_its_own(encode):
    paths = [encode(images=gray_images([1]), filename_prefix="numbered/film").args[1] for _ in range(3)]

    assert [path[-10:] for path in paths] == ["00001_.mp4", "00002_.mp4", "00003_.mp4"]


def test_chain_to_images_gives_the_frames_asked_for(chain, comfyui):
    from longtake.nodes.stitch import ChainToImages

    (images,) = ChainToImages.execute(chain, first_frame=7, frame_count=4).args

    assert images.dtype == torch.float32
    assert images.shape == (4, 32, 64, 3)
    assert (images[:, 0, 0, 0] * 255).round().int().tolist() == [7, 8, 105, 106]


def test_chain_to_images_gives_all_to_the_end(chain, comfyui):
    from longtake.nodes.stitch import ChainToImages

    (images,) = ChainToImages.execute(chain, first_frame=0, frame_count=0).args

    assert (images[:, 0, 0, 0] * 255).round().int().tolist() == FILM


@pytest.mark.parametrize(
    ("first", "count", "said"),
    [(17, 0, "first_frame: 17 is given; the film has the frames 0 to 16"), (10, 8, "frame_count: 8 is given.*has 7")],
)
def test_chain_to_images_refuses_frames_the_film_has_not(chain, comfyui, first, count, said):
    from longtake.nodes.stitch import ChainToImages

    with pytest.raises(Refusal, match=said):
        ChainToImages.execute(chain, first_frame=first, frame_count=count)


def test_images_and_audio_make_a_film(encode):
    audio = {"waveform": torch.zeros(1, 1, 16000), "sample_rate": 16000}

    _, path = encode(images=gray_images([0, 50, 100, 150] * 4), audio=audio, fps=8.0).args

    assert VideoFile(path).frame_rate == 8
    assert SoundTrack.of(path).channels == 1
    with av.open(path) as container:
        assert container.streams.audio[0].duration == 32000


def test_audio_replaces_that_of_a_video(encode):
    quiet = {"waveform": torch.zeros(1, 1, 16000), "sample_rate": 16000}
    other = {"waveform": torch.zeros(1, 2, 48000), "sample_rate": 48000}
    video, _ = encode(images=gray_images([0] * 16), audio=quiet).args

    _, kept = encode(video=video).args
    _, replaced = encode(video=video, audio=other).args

    assert SoundTrack.of(kept).sample_rate == 16000
    assert SoundTrack.of(replaced).sample_rate == 48000


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(16.0, Fraction(16)), (23.976, Fraction(24000, 1001)), (29.97, Fraction(30000, 1001)), (12.5, Fraction(25, 2))],
)
def test_fps_means_the_rate_its_number_stands_for(encode, fps, rate):
    _, path = encode(images=gray_images([0] * 30), fps=fps).args

    assert VideoFile(path).frame_rate == rate


def test_neither_and_both_of_video_and_images_are_refused(encode):
    video, _ = encode(images=gray_images([0])).args

    with pytest.raises(Refusal, match="neither is given"):
        encode()
    with pytest.raises(Refusal, match="both are given"):
        encode(video=video, images=gray_images([0]))


@pytest.mark.parametrize("fps", [float("nan"), 0.0, -16.0])
def test_an_impossible_frame_rate_is_refused(encode, fps):
    with pytest.raises(Refusal, match="fps"):
        encode(images=gray_images([0]), fps=fps)


def test_a_name_outside_the_output_folder_is_refused(encode, comfyui):
    with pytest.raises(Exception, match="out of ComfyUI's output folder"):
        encode(images=gray_images([0]), filename_prefix="../elsewhere/film")

    assert not (comfyui / "elsewhere").exists()


def saved(chain, encode, **inputs) -> Path:
    from longtake.nodes.stitch import StitchChain

    return Path(encode(video=StitchChain.execute(chain).args[0], **inputs).args[1])


CONTAINERS = [
    {"format": "mp4"},
    {"format": "H.264", "container": "mkv"},
    {"format": "H.264", "container": "mov"},
    {"format": "VP9", "container": "webm"},
]


@pytest.mark.parametrize("format", CONTAINERS)
def test_each_stage_is_a_chapter_from_the_first_frame_that_shows_it(chain, encode, format) -> None:
    with av.open(str(saved(chain, encode, format=format))) as container:
        found = [
            (float(chapter["start"] * chapter["time_base"]), chapter["metadata"]["title"])
            for chapter in container.chapters()
        ]
    assert found == [
        (0.0, "1. a fox in the snow, Süden"),
        (pytest.approx(9 / 16, abs=1e-3), "2. the fox turns and looks at us"),
    ]


@pytest.mark.parametrize("format", CONTAINERS)
def test_prompts_are_shown_as_subtitles_where_asked_for(chain, encode, format) -> None:
    with av.open(str(saved(chain, encode, format=format))) as container:
        assert not container.streams.subtitles
    with av.open(str(saved(chain, encode, format=format, subtitles=True, metadata=False))) as container:
        [stream] = container.streams.subtitles
        packets = [packet for packet in container.demux(stream) if packet.size > 2]
    texts = [
        bytes(packet).removeprefix(len(text.encode()).to_bytes(2, "big")).decode()
        for packet, text in zip(packets, TEXTS, strict=True)
    ]
    assert texts == TEXTS
    assert [round(float(packet.pts * packet.time_base) * 16) for packet in packets] == [0, 9]
    assert [round(float(packet.duration * packet.time_base) * 16) for packet in packets] == [9, 8]


TEXTS = ["a fox in the snow, Süden", "the fox turns and looks at us"]


def test_a_film_without_metadata_says_nothing_of_how_it_was_made(chain, encode) -> None:
    path = saved(chain, encode, metadata=False)
    with av.open(str(path)) as container:
        assert not container.chapters()
        assert not {*container.metadata} & {"prompt", "workflow", "longtake_chain"}
    assert not any(word in path.read_bytes() for word in (b"fox", b"nodes", b"Longtake", b"0" * 64))


def test_subtitles_and_clips_are_refused_where_there_are_no_stages(encode) -> None:
    with pytest.raises(Refusal, match="subtitles: nothing is known of what the video was asked for"):
        encode(images=gray_images([1]), subtitles=True)
    with pytest.raises(Refusal, match="subtitles: gif holds none; mp4, mov, mkv, webm do"):
        encode(images=gray_images([1]), subtitles=True, format={"format": "GIF"})
    with pytest.raises(Refusal, match="clips: the video has no stages"):
        encode(images=gray_images([1]), clips=True)


def test_a_poster_and_the_stages_lie_beside_the_film_where_asked_for(chain, encode) -> None:
    path = saved(chain, encode, filename_prefix="beside/film", poster=True, clips=True)
    names = ["film_00001_.jpg", "film_00001_.mp4", "film_00001_stage_01.mp4", "film_00001_stage_02.mp4"]
    assert sorted(file.name for file in path.parent.iterdir()) == names
    assert np.abs(np.array(levels_of(path.parent / names[2])) - FILM[:9]).max() <= 2
    assert np.abs(np.array(levels_of(path.parent / names[3])) - FILM[9:]).max() <= 2
    with Image.open(path.parent / names[0]) as poster:
        assert poster.size == (64, 32)
        assert abs(int(np.asarray(poster)[8, 8, 0]) - FILM[0]) <= 2


def test_a_film_says_what_chain_it_was_made_of(chain, encode, comfyui) -> None:
    from longtake.host.films import chain_in
    from longtake.pipelines.chain.record import stored

    path = saved(chain, encode, filename_prefix="told/film")
    with av.open(str(path)) as container:
        told = json.loads(container.metadata["longtake_chain"])
    assert [stage["seed"] for stage in told["stages"]] == [7, 8]
    assert [stage["prompt"] for stage in told["stages"]] == PROMPTS
    for format in CONTAINERS:
        path = saved(chain, encode, filename_prefix="told/film", format=format)
        assert chain_in(f"told/{path.name}").ids == stored(chain).ids
    assert chain_in("told/other.mp4") is None
    encode(images=gray_images([1]), filename_prefix="told/images")
    with pytest.raises(Refusal, match="does not say what chain it was made of"):
        chain_in("told/images_00001_.mp4")
    (comfyui / "outside.mp4").write_bytes(path.read_bytes())
    assert chain_in("../outside.mp4") is None


@pytest.mark.parametrize("way", ["motion", "blended"])
def test_a_film_is_saved_at_another_rate_and_lasts_as_long(chain, encode, way) -> None:
    audio = {"waveform": torch.zeros(1, 1, 48000), "sample_rate": 48000}
    path = saved(chain, encode, rate={"rate": way, "fps": 32.0}, audio=audio)

    film = VideoFile(path)
    assert (film.frame_rate, film.frame_count) == (32, 2 * len(FILM))
    assert np.abs(np.array(levels_of(path)[::2]) - FILM).max() <= 2
    with av.open(str(path)) as container:
        assert [float(one["start"] * one["time_base"]) for one in container.chapters()] == [
            0,
            pytest.approx(9 / 16, abs=1e-3),
        ]
        sound = container.streams.audio[0]
        assert abs(float(sound.duration * sound.time_base) - len(FILM) / 16) < 0.001


def test_the_rate_that_a_film_has_leaves_it_as_it_is(chain, encode) -> None:
    first = saved(chain, encode)
    for rate in ({"rate": "as rendered"}, {"rate": "motion", "fps": 16.0}):
        assert levels_of(saved(chain, encode, rate=rate)) == levels_of(first)
    with pytest.raises(Refusal, match="fps: nan is given"):
        saved(chain, encode, rate={"rate": "blended", "fps": float("nan")})
