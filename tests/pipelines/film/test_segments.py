"""A film in segments: each encoded once, and the same film however it came together."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.film import stitch
from longtake.pipelines.film.colour import Match
from longtake.pipelines.film.stitch import Film
from longtake.pipelines.media.codecs import Form
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.segments import Run, Segments, packet_of
from longtake.pipelines.takes import housekeeping
from longtake.pipelines.takes.derived import Derived, files
from longtake.pipelines.takes.store import Store
from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition
from longtake.pipelines.timeline.plan import plan_clip

W, H = 64, 48
CUT, SMOOTH, FADE = Join(), Join(Transition.SMOOTH, overlap=5), Join(Transition.FADE, fade_frames=6)
RATE = Fraction(24000, 1001)
FAST = Form(preset="veryfast")


def chain_of(*stages: tuple[str, Join], frames: int = 81) -> Chain:
    """A chain of takes called by their keys."""
    clips: list[Clip] = []
    for _, join in stages:
        clips.append(plan_clip(clips, Length(frames=frames), join, Grid(4), RATE))
    links = tuple(
        Link(clip, SimpleNamespace(key=key), SimpleNamespace(vae="vae", tiled=False))
        for (key, _), clip in zip(stages, clips, strict=True)
    )
    return Chain("wan22", W, H, RATE, links)


class Takes:
    """Decodes every take to a texture that moves, of its own or one for all; remembers which were decoded."""

    def __init__(self, alike: bool = False) -> None:
        self.alike = alike
        self.decoded: set[str] = set()

    def __call__(self, link: Link) -> np.ndarray:
        key = link.rendered.key
        self.decoded.add(key)
        rng = np.random.default_rng(0 if self.alike else int(hashlib.sha256(key.encode()).hexdigest()[:8], 16))
        coarse = rng.integers(8000, 57000, (H // 8, W // 8, 3))
        picture = coarse.repeat(8, 0).repeat(8, 1).astype(np.uint16)
        return np.stack([np.roll(picture, frame, 1) for frame in range(link.clip.frames)])


class Watched(Film):
    """A film that counts the frames that are made."""

    made = 0

    def _read(self, start, stop):
        for read in super()._read(start, stop):
            self.made += 1
            yield read


@pytest.fixture
def shelf(tmp_path: Path) -> Derived:
    return Derived(Store(tmp_path / "longtake"))


@pytest.fixture
def deliver(tmp_path: Path, shelf: Derived) -> Callable[..., tuple[Path, int, set[str]]]:
    """Encode a chain: the file, how many frames were made for it, and the takes decoded for it."""
    count = iter(range(100))

    def call(
        chain: Chain, form: Form = FAST, shelf: Derived | None = shelf, match: bool = True, alike: bool = False, **more
    ):
        takes, path = Takes(alike), tmp_path / f"{next(count)}.mp4"
        film = Watched(chain, takes, Match(chain, takes, shelf) if match else None, shelf)
        encode(film, path, form, **more)
        return path, film.made, takes.decoded

    return call


def pictures(path: Path) -> list[str]:
    """Each decoded frame's hash; its time is checked to be its place."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.average_rate == RATE
    assert [frame.pts * frame.time_base * RATE for frame in frames] == list(range(len(frames)))
    return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in frames]


FILM = (("a", CUT), ("b", CUT), ("c", FADE), ("d", SMOOTH), ("e", SMOOTH))


def test_a_film_delivered_again_is_copied_frame_by_frame_with_nothing_decoded(deliver) -> None:
    chain = chain_of(*FILM)
    first, made, decoded = deliver(chain)
    assert (made, decoded) == (chain.frames, {"a", "b", "c", "d", "e"})

    again, made, decoded = deliver(chain)

    assert (made, decoded) == (0, set())
    assert len(pictures(first)) == chain.frames
    assert pictures(again) == pictures(first)
    assert first.read_bytes() == again.read_bytes()


def test_a_changed_stage_is_decoded_and_encoded_with_its_seams_alone(deliver) -> None:
    before = chain_of(*FILM)
    first, _, _ = deliver(before)
    changed = chain_of(("a", CUT), ("other", CUT), *FILM[2:])

    path, made, decoded = deliver(changed)

    # b's own frames, and the fade with the stage that it is kept with
    assert made == (81 - 6) + 81
    assert decoded == {"other", "c"}
    old, new = pictures(first), pictures(path)
    assert len(new) == changed.frames
    same = [a == b for a, b in zip(old, new, strict=True)]
    assert all(same[:81]) and all(same[81 + 75 + 81 :])
    assert not any(same[82 : 81 + 75])


def test_what_is_joined_shows_the_same_as_the_takes(deliver, tmp_path: Path) -> None:
    chain = chain_of(*FILM)
    deliver(chain_of(*FILM[:3]))
    joined, made, _ = deliver(chain)
    assert 0 < made < chain.frames
    whole, _, _ = deliver(chain, shelf=None)

    def luma(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray()[:H] for frame in container.decode(video=0)]).astype(int)

    assert np.abs(luma(joined) - luma(whole)).mean() < 1


def test_a_stage_put_elsewhere_in_the_film_keeps_its_segment(deliver) -> None:
    deliver(chain_of(("a", CUT), ("b", CUT)))
    _, made, _ = deliver(chain_of(("b", CUT), ("a", CUT), ("b", CUT)))
    assert made == 0


@pytest.mark.parametrize(
    "form", [Form(quality=30, preset="veryfast"), Form(preset="faster"), Form(quality=18.5, preset="veryfast")]
)
def test_other_settings_share_no_segment(deliver, form: Form) -> None:
    chain = chain_of(*FILM[:2])
    deliver(chain)
    assert deliver(chain, form)[1] == chain.frames


def test_a_film_is_the_same_in_segments_of_any_history(deliver, shelf: Derived) -> None:
    chain = chain_of(*FILM)
    deliver(chain)
    kept = [path for path in files(shelf.root) if path.suffix == ".segment"]
    for path in sorted(kept, key=lambda path: path.stat().st_mtime_ns)[2::2]:
        path.unlink()

    again, made, _ = deliver(chain)

    assert 0 < made < chain.frames
    assert len(pictures(again)) == chain.frames
    third, made, _ = deliver(chain)
    assert made == 0 and pictures(third) == pictures(again)


def key_frames(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]


def test_a_key_frame_is_shared_where_nothing_is_cut(deliver) -> None:
    chain = chain_of(("a", CUT), *[(key, SMOOTH) for key in "bcde"])

    path, _, _ = deliver(chain, alike=True)

    assert key_frames(path) == [0, 81 + 76, 81 + 3 * 76]


def test_what_shares_a_key_frame_is_never_more_than_a_sixth_of_what_comes_before(shelf: Derived) -> None:
    runs = [Run(76 * place, 76 * place + 76, str(place), place == 0) for place in range(40)]
    keys = sorted(Segments(runs, shelf).key_frames)
    ends = [*keys[1:], runs[-1].stop]
    shared = [(end - key) // 76 for key, end in zip(keys, ends, strict=True)]
    assert shared == [2] * 9 + [3] * 7 + [1]
    assert all(end - key <= max(2 * 76, key / 6) for key, end in zip(keys, ends, strict=True))
    # A longer film has the key frames of a shorter one.
    assert [key for key in keys if key < 30 * 76] == sorted(Segments(runs[:30], shelf).key_frames)


def test_what_looks_behind_is_encoded_again_when_that_changes(deliver) -> None:
    keys = "abcde"

    def film(changed: str = "", into: str = "") -> Chain:
        return chain_of(*[(into if key == changed else key, SMOOTH if key != "a" else CUT) for key in keys])

    first, _, _ = deliver(film(), match=False)
    second, made, _ = deliver(film("b", "B"), match=False)
    assert made == 76  # it ends what shares the key frame of a
    third, made, _ = deliver(film("c", "C"), match=False)
    assert made == 2 * 76  # d looked behind at c
    back, made, _ = deliver(film(), match=False)
    assert made == 0

    assert pictures(back) == pictures(first)
    old = pictures(first)
    for path, place in ((second, range(81, 157)), (third, range(157, 157 + 2 * 76))):
        shown = pictures(path)
        assert len(shown) == len(old)
        assert [shown[i] == old[i] for i in range(len(old)) if i not in place].count(False) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
        lambda data: b"\xff" * 8 + data[8:],
    ],
    ids=["a bit flipped", "cut short", "empty", "index changed", "length of the index changed"],
)
def test_a_damaged_segment_is_encoded_again(deliver, shelf: Derived, damage) -> None:
    chain = chain_of(*FILM)
    deliver(chain)
    [one, *_] = sorted(path for path in files(shelf.root) if path.suffix == ".segment")
    one.write_bytes(damage(one.read_bytes()))

    again, made, _ = deliver(chain)

    assert 0 < made <= 2 * 81
    assert len(pictures(again)) == chain.frames
    assert deliver(chain)[1] == 0


def test_what_was_measured_and_is_damaged_is_measured_again(deliver, shelf: Derived) -> None:
    chain = chain_of(*FILM)
    first, _, _ = deliver(chain)
    for path in files(shelf.root):
        if path.suffix == ".measured":
            path.write_bytes(path.read_bytes()[:-3])

    again, made, decoded = deliver(chain)

    assert made == 0 and decoded == {"c", "d", "e"}
    assert pictures(again) == pictures(first)


def test_sound_runs_through_and_ends_with_the_picture(deliver) -> None:
    chain = chain_of(*FILM)
    tone = {"waveform": np.sin(np.arange(400_000) / 20)[None, None].astype(np.float32), "sample_rate": 48000}
    first, _, _ = deliver(chain, audio=tone)
    again, _, _ = deliver(chain, audio=tone)

    for path in (first, again):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            assert stream.duration * stream.time_base * 48000 == round(chain.frames / RATE * 48000)
    assert first.read_bytes() == again.read_bytes()


def test_what_was_encoded_before_a_cancel_is_not_encoded_again(deliver) -> None:
    chain = chain_of(*[(str(number), CUT) for number in range(6)])

    def cancel(done: int, total: int) -> None:
        if done == 440:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        deliver(chain, progress=cancel)

    _, made, _ = deliver(chain)
    assert 0 < made <= 3 * 81


def test_a_store_that_cannot_be_written_costs_no_film(deliver, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    chain = chain_of(*FILM)

    path, made, _ = deliver(chain, shelf=Derived(Store(tmp_path / "file" / "longtake")))

    assert made == chain.frames == len(pictures(path))


def test_a_disk_that_is_full_for_segments_costs_no_film(deliver, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 250_000)
    chain = chain_of(*FILM)

    path, made, _ = deliver(chain, shelf=Derived(Store(small_disk)))

    assert made == chain.frames == len(pictures(path))


def test_a_disk_that_fills_up_within_a_segment_costs_no_film_and_leaves_whole_ones(deliver, small_disk: Path) -> None:
    chain, store = chain_of(*FILM), Derived(Store(small_disk))
    deliver(chain, shelf=store)
    needed = sum(path.stat().st_size for path in files(store.root))
    for path in files(store.root):
        path.unlink()
    (small_disk / "filler").write_bytes(bytes(2**18 - 2 * 4096 - needed))

    first, _, _ = deliver(chain, shelf=store)

    assert not [path for path in files(store.root) if path.name.endswith(".part")]
    again, made, _ = deliver(chain, shelf=store)
    assert 0 < made < chain.frames
    assert len(pictures(again)) == len(pictures(first)) == chain.frames


MOMENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.utime", "a frame"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_at_any_moment_leaves_the_film_or_nothing_under_its_name(tmp_path: Path) -> None:
    chain = chain_of(("a", CUT), ("b", CUT), frames=17)

    def write(folder: Path, stop: Callable[[], object] = lambda: None) -> Path:
        takes, shelf = Takes(), Derived(Store(folder / "longtake"))
        film = Film(chain, takes, Match(chain, takes, shelf), shelf)
        encode(film, folder / "film.mp4", FAST, progress=lambda done, _: stop() if done % 8 == 0 else None)
        return folder / "film.mp4"

    def killed_at(folder: Path, moment: int) -> bool:
        """Whether a process is killed before it is done: at the so many-th of its moments."""
        child = os.fork()
        if not child:
            left = itertools.count(moment, -1)

            def count(event: str = "a frame", _: object = None) -> None:
                if event in MOMENTS and next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            write(folder, count)
            os._exit(0)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    for moment in range(1000):
        (folder := tmp_path / str(moment)).mkdir()
        if not killed_at(folder, moment):
            break
        if (folder / "film.mp4").exists():
            assert len(pictures(folder / "film.mp4")) == chain.frames
        assert len(pictures(write(folder))) == chain.frames
        assert sorted(path.name for path in folder.iterdir()) == ["film.mp4", "longtake"]
    assert moment > 10


def lengths(chain: Chain, shelf: Derived) -> list[int]:
    segments = Film(chain, Takes(), None, shelf).segments
    assert segments is not None
    assert [run.start for run in segments.runs[1:]] == [run.stop for run in segments.runs[:-1]]
    return [run.stop - run.start for run in segments.runs]


def test_few_frames_are_kept_with_what_follows_them_and_many_in_parts(shelf: Derived) -> None:
    assert lengths(chain_of(("a", CUT), ("b", FADE)), shelf) == [75, 81]
    assert lengths(chain_of(*[(str(number), CUT) for number in range(4)], frames=5), shelf) == [20]
    assert lengths(chain_of(("a", CUT), ("b", CUT), frames=9), shelf) == [18]
    assert lengths(chain_of(("a", CUT), frames=5), shelf) == [5]
    assert lengths(chain_of(("a", CUT), frames=481), shelf) == [160, 160, 161]
    assert lengths(chain_of(("a", CUT), ("b", CUT), ("c", CUT), frames=13), shelf) == [39]


def test_a_take_that_nothing_identifies_is_not_kept(deliver, shelf: Derived) -> None:
    chain = chain_of(*FILM[:2])
    nameless = replace(chain.links[1], model=SimpleNamespace(vae=object(), tiled=False))
    chain = replace(chain, links=(chain.links[0], nameless))

    deliver(chain)

    assert deliver(chain)[1] == 81


def test_a_limit_of_the_store_takes_segments_before_takes(deliver, shelf: Derived) -> None:
    import torch

    store = Store(shelf.root)
    take = store.write("0" * 64, {"latent": torch.zeros(1000)}, {})
    size = take.size()
    del take
    deliver(chain_of(*FILM))
    kept = sum(path.stat().st_size for path in files(shelf.root))

    done = housekeeping.prune(store, size + kept - 1)

    assert done.removed == ()
    assert size < done.size < size + kept
    assert housekeeping.prune(store, size).size == size
    assert list(files(shelf.root)) == []


def test_segments_have_a_limit_of_their_own(deliver, shelf: Derived, monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.pipelines.takes import derived

    monkeypatch.setattr(derived, "LIMIT", 9000)
    path, _, _ = deliver(chain_of(*[(str(number), CUT) for number in range(8)]))
    assert len(pictures(path)) == 8 * 81
    assert sum(path.stat().st_size for path in files(shelf.root)) <= 9000


def test_a_film_without_frames_is_refused(tmp_path: Path, shelf: Derived) -> None:
    with pytest.raises(Refusal, match="no stages"):
        Film(Chain("wan22", W, H, RATE), Takes(), None, shelf)


def seams_in(scenes: Sequence) -> list[int]:
    return [scene.start for scene in scenes]


def test_the_runs_tile_the_film_at_its_scenes(shelf: Derived) -> None:
    chain = chain_of(*FILM)
    scenes = [scene for scene in stitch._scenes(chain) if scene.start < scene.stop]
    runs = list(stitch._runs(scenes))
    assert [scene.start for run in runs for scene in run] == seams_in(scenes)


def test_a_packet_keeps_its_bytes_while_a_muxer_waits_with_it() -> None:
    rng = np.random.default_rng(0)
    contents = [rng.bytes(500) for _ in range(40)]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        data, silent = container.add_stream("pcm_s16le", rate=8000, layout="mono"), container.add_stream("aac", 48000)
        silent.layout = "mono"
        container.start_encoding()
        for place, content in enumerate(contents):
            packet = packet_of(bytes(bytearray(content)))
            packet.stream, packet.time_base, packet.pts, packet.dts = data, Fraction(1, 8000), 250 * place, 250 * place
            # It waits for the other stream, which comes last of all.
            container.mux(packet)
            del packet
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 60000), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 48000, 0
        container.mux(silent.encode(sound))
        container.mux(silent.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        found = [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]
    assert found == contents
