from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.film.stitch import Film, blend, fade_weights
from longtake.pipelines.media.frames import Excerpt, Images, from_float, to_uint8
from longtake.pipelines.timeline.clips import Clip, Grid, Join, Length, Transition
from longtake.pipelines.timeline.plan import plan_clip

WAN = Grid(4)
FPS = Fraction(16)
WIDTH, HEIGHT = 4, 2


def chain_of(*stages: tuple[Length, Join]) -> Chain:
    clips: list[Clip] = []
    for length, join in stages:
        clips.append(plan_clip(clips, length, join, WAN, FPS))
    return Chain("wan22", WIDTH, HEIGHT, FPS, tuple(Link(clip, f"take {i}", None) for i, clip in enumerate(clips)))


class Shelf:
    """Clips whose pixels say which clip and frame they are; remembers what is asked of it."""

    def __init__(self, chain: Chain):
        self.chain = chain
        self.opened: list[int] = []

    def __call__(self, link: Link) -> np.ndarray:
        index = self.chain.links.index(link)
        self.opened.append(index)
        values = (index * 1000 + np.arange(link.clip.frames)).astype(np.uint16)
        return np.broadcast_to(values[:, None, None, None], (link.clip.frames, HEIGHT, WIDTH, 3))


def values(film, start=0, stop=None) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in film.frames(start, stop)]


def frames(count: int) -> Length:
    return Length(frames=count)


CUT = Join(Transition.CUT)
SMOOTH = Join(Transition.SMOOTH, overlap=5)
FADE = Join(Transition.FADE, fade_frames=3)


def test_a_smooth_join_shows_the_overlap_once():
    chain = chain_of((frames(9), CUT), (frames(13), SMOOTH))

    shown = values(Film(chain, Shelf(chain)))

    assert shown == [*range(0, 9), *range(1005, 1013)]


def test_a_cut_shows_both_clips_whole():
    chain = chain_of((frames(5), CUT), (frames(9), CUT))

    assert values(Film(chain, Shelf(chain))) == [*range(0, 5), *range(1000, 1009)]


def test_over_production_before_a_cut_is_left_out():
    chain = chain_of((Length(seconds=0.375), CUT), (frames(5), CUT))  # 6 frames, rendered as 9

    assert values(Film(chain, Shelf(chain))) == [*range(0, 6), *range(1000, 1005)]


def test_a_fade_starts_with_the_outgoing_and_ends_with_the_incoming_frame():
    chain = chain_of((frames(9), CUT), (frames(9), FADE))

    shown = values(Film(chain, Shelf(chain)))

    assert len(shown) == 9 + 9 - 3
    assert shown[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert 7 < shown[7] < 1001
    assert shown[8:] == [1002, 1003, 1004, 1005, 1006, 1007, 1008]


transitions = st.one_of(
    st.just(CUT),
    st.sampled_from([1, 5, 9]).map(lambda k: Join(Transition.SMOOTH, overlap=k)),
    st.integers(1, 6).map(lambda n: Join(Transition.FADE, fade_frames=n)),
)
lengths = st.one_of(
    st.integers(0, 5).map(lambda n: Length(frames=4 * n + 1)),
    st.integers(1, 30).map(lambda n: Length(seconds=n / 16)),
)


@st.composite
def chains(draw) -> Chain:
    stages = [(draw(lengths), CUT)]
    for candidate in draw(st.lists(st.tuples(lengths, transitions), max_size=5)):
        try:
            chain_of(*stages, candidate)
        except Refusal:
            continue
        stages.append(candidate)
    return chain_of(*stages)


def expected(chain: Chain) -> list[int]:
    """The values of the film from its spans alone, one laid down after the other."""
    film: list[int] = []
    for index, span in enumerate(chain.spans):
        shown = [index * 1000 + frame for frame in range(span.first, span.stop)]
        for number in range(span.fade_in):
            weight = number / (span.fade_in - 1) if span.fade_in > 1 else 0.5
            at = len(film) - span.fade_in + number
            film[at] = int(blend(np.array([film[at]]), np.array([shown[number]]), weight)[0])
        film += shown[span.fade_in :]
    return film


@given(chains())
@settings(deadline=None)
def test_every_film_frame_is_the_frame_its_span_says(chain):
    film = Film(chain, Shelf(chain))

    shown = values(film)

    assert len(shown) == film.frame_count == chain.frames
    assert shown == expected(chain)


@given(chains(), st.data())
@settings(deadline=None)
def test_reading_from_the_middle_gives_the_same_frames(chain, data):
    film = Film(chain, Shelf(chain))
    start = data.draw(st.integers(0, film.frame_count))
    stop = data.draw(st.integers(start, film.frame_count))

    assert values(film, start, stop) == values(film)[start:stop]


def test_reading_from_the_middle_opens_no_clip_before_it():
    chain = chain_of((frames(9), CUT), (frames(9), CUT), (frames(9), CUT))
    shelf = Shelf(chain)

    values(Film(chain, shelf), 20, 22)

    assert shelf.opened == [2]


def test_a_clip_is_opened_once_even_when_it_fades():
    chain = chain_of((frames(9), CUT), (frames(9), FADE), (frames(9), FADE))
    shelf = Shelf(chain)

    values(Film(chain, shelf))

    assert shelf.opened == [0, 1, 2]


def test_a_chain_without_stages_is_refused():
    with pytest.raises(Refusal, match="no stages"):
        Film(Chain("wan22", WIDTH, HEIGHT, FPS), lambda link: None)


def test_a_stored_clip_of_another_shape_is_refused_with_its_stage():
    chain = chain_of((frames(5), CUT), (frames(5), CUT))
    wrong = np.zeros((9, HEIGHT, WIDTH, 3), np.uint16)
    film = Film(chain, lambda link: wrong[: 5 if link is chain.links[0] else 9])

    with pytest.raises(Refusal, match=r"stage 2.*render the stage again"):
        values(film)


def test_frames_beyond_the_film_are_refused():
    chain = chain_of((frames(5), CUT))

    with pytest.raises(Refusal, match="frames 3 to 6 are asked of a film that has 5"):
        values(Film(chain, Shelf(chain)), 3, 6)


@given(st.integers(2, 100))
def test_fade_weights_reach_both_ends_and_only_rise(count):
    weights = fade_weights(count)

    assert weights[0] == 0
    assert weights[-1] == 1
    assert (np.diff(weights) > 0).all()


def test_a_fade_of_one_frame_is_an_even_mix():
    assert fade_weights(1).tolist() == [0.5]


def test_a_weight_of_zero_or_one_gives_back_its_frame_exactly():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    reverse = np.ascontiguousarray(every[::-1, ::-1])

    assert np.array_equal(blend(every, reverse, 0), every)
    assert np.array_equal(blend(every, reverse, 1), reverse)


def test_black_and_white_mix_in_linear_light():
    black = np.zeros((1, 1, 3), np.uint16)
    white = np.full((1, 1, 3), 65535, np.uint16)

    half = blend(black, white, 0.5)

    # half the light of white is 0.735 in sRGB, not 0.5
    assert half[0, 0, 0] == round((1.055 * 0.5 ** (1 / 2.4) - 0.055) * 65535)


def test_sixteen_bits_round_to_eight_for_every_value():
    every = np.arange(65536, dtype=np.uint16)

    assert np.array_equal(to_uint8(every), np.rint(every / 257).astype(np.uint8))


def test_floats_round_to_sixteen_bits_and_clip():
    given_values = np.array([-0.1, 0.0, 0.4 / 65535, 0.6 / 65535, 1.0, 1.5], np.float32)

    assert from_float(given_values).tolist() == [0, 0, 0, 1, 65535, 65535]


def test_every_eight_bit_value_survives_float_and_sixteen_bits():
    eight = np.arange(256)

    assert to_uint8(from_float(eight.astype(np.float32) / 255)).tolist() == eight.tolist()


def test_images_are_read_one_at_a_time():
    torch = pytest.importorskip("torch")
    images = Images(torch.tensor([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1).expand(3, 2, 4, 3), Fraction(24))

    assert (images.frame_count, images.width, images.height) == (3, 4, 2)
    assert values(images) == [0, 16384, 65535]
    assert values(images, 1, 2) == [16384]


def test_images_laid_out_as_a_vae_leaves_them_are_read_alike():
    torch = pytest.importorskip("torch")
    planar = torch.rand(1, 3, 5, 2, 4)
    images = planar.movedim(1, -1)[0]

    plain = list(Images(images.contiguous(), FPS).frames())

    assert np.array_equal(np.stack(list(Images(images, FPS).frames())), np.stack(plain))


def test_images_with_an_alpha_channel_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(Refusal, match="alpha"):
        Images(torch.zeros(1, 2, 2, 4), FPS)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_an_image_with_values_that_are_not_finite_is_refused_with_its_number(value):
    torch = pytest.importorskip("torch")
    images = torch.zeros(3, 2, 2, 3)
    images[1, 0, 0, 0] = float(value)

    with pytest.raises(Refusal, match="images: image 1 holds values that are not finite"):
        values(Images(images, FPS))


def test_an_excerpt_is_the_frames_between():
    chain = chain_of((frames(9), CUT), (frames(9), CUT))
    film = Film(chain, Shelf(chain))

    excerpt = Excerpt(film, 7, 12)

    assert excerpt.frame_count == 5
    assert values(excerpt) == [7, 8, 1000, 1001, 1002]
    assert values(excerpt, 2, 4) == [1000, 1001]


def test_eight_bits_are_exactly_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(64, -1)
    assert np.array_equal(to_uint8(values), np.rint(values / 257).astype(np.uint8))


def test_a_fade_by_table_is_what_the_formula_says():
    rng = np.random.default_rng(0)
    outgoing, incoming = (rng.integers(0, 65536, (64, 50, 3)).astype(np.uint16) for _ in range(2))
    outgoing[:8] //= 64  # near black, where a step of light is seen most

    def light(coded):
        value = coded / 65535
        return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)

    for weight in (0.1, 0.5, 0.93):
        mixed = (1 - weight) * light(outgoing) + weight * light(incoming)
        exact = np.where(mixed <= 0.0031308, mixed * 12.92, 1.055 * mixed ** (1 / 2.4) - 0.055) * 65535
        assert np.abs(blend(outgoing, incoming, weight) - exact).max() < 1.5


def test_frames_in_eight_bits_are_the_frames():
    chain = chain_of((frames(9), CUT), (frames(13), SMOOTH), (frames(9), FADE))
    film = Film(chain, Shelf(chain))
    shallow = [frame.copy() for frame in film.frames_8()]
    assert all(np.array_equal(a, to_uint8(b)) for a, b in zip(shallow, film.frames(), strict=True))
    assert len(shallow) == chain.frames
