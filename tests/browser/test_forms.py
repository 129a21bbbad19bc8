"""Films in a browser: each form that it knows is played there to the last frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from longtake.pipelines.media.codecs import APNG, AV1, GIF, H265, VP9, WEBP, Form
from longtake.pipelines.media.encode import encode
from longtake.pipelines.media.sound_codecs import SOUND_CODECS
from playwright.sync_api import Route

from tests.browser.browser import NO_CHROMIUM, find_chromium, running_chromium
from tests.pipelines.media.test_encode import tone
from tests.pipelines.media.test_forms import Ramp, frames_of

SITE = "https://films.invalid/"
FILM = Ramp(step=1200)  # 4.7 code values brighter from frame to frame
PLACE = 64, 48  # of the pixel that is looked at
FORMS = {
    "H.264": Form(),
    "H.264, 10 bits": Form(bits=10),
    "H.264 in mov": Form(container="mov"),
    "H.264 in mkv": Form(container="mkv"),
    "H.265": Form(H265),
    "AV1": Form(AV1),
    "AV1, 10 bits": Form(AV1, "webm", bits=10),
    "VP9": Form(VP9, "webm"),
    "VP9 in mp4": Form(VP9, "mp4"),
    **{f"H.264 with {name} in mp4": Form(sound=SOUND_CODECS[name]) for name in ("opus", "flac")},
    **{
        f"H.264 with {name} in mkv": Form(container="mkv", sound=SOUND_CODECS[name]) for name in ("opus", "flac", "pcm")
    },
    "WebP": Form(WEBP, "webp"),
    "APNG": Form(APNG, "apng"),
    "GIF": Form(GIF, "gif"),
}
PLAY = """async ([address, [x, y]]) => {
  const video = document.createElement('video');
  video.muted = true;
  video.src = URL.createObjectURL(await (await fetch(address)).blob());
  document.body.append(video);
  const ended = new Promise((end) => ['ended', 'error'].forEach((kind) => video.addEventListener(kind, end)));
  await video.play().catch(() => {});
  await ended;
  const { videoWidth: width, videoHeight: height, duration, error, webkitAudioDecodedByteCount: heard } = video;
  if (error) return { error: error.message };
  const canvas = new OffscreenCanvas(width, height).getContext('2d');
  canvas.drawImage(video, 0, 0);
  const pixel = [...canvas.getImageData(x, y, 1, 1).data].slice(0, 3);
  const frames = video.getVideoPlaybackQuality().totalVideoFrames;
  return { size: [width, height], seconds: duration, pixel, heard, frames };
}"""
SHOW = """async ([address, [x, y]]) => {
  const answer = await fetch(address);
  const decoder = new ImageDecoder({ data: answer.body, type: answer.headers.get('content-type') });
  await decoder.completed;
  const track = decoder.tracks.selectedTrack;
  let microseconds = 0;
  let image;
  for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
    ({ image } = await decoder.decode({ frameIndex }));
    microseconds += image.duration;
  }
  const canvas = new OffscreenCanvas(image.codedWidth, image.codedHeight).getContext('2d');
  canvas.drawImage(image, 0, 0);
  const pixel = [...canvas.getImageData(x, y, 1, 1).data].slice(0, 3);
  const size = [image.codedWidth, image.codedHeight];
  return { size, seconds: microseconds / 1e6, pixel, frames: track.frameCount, again: track.repetitionCount };
}"""


ALL = f"""([addresses, place]) => Promise.all(
  addresses.map(([address, picture]) => (picture ? {SHOW} : {PLAY})([address, place])))"""
PICTURES = {"webp": "image/webp", "apng": "image/png", "gif": "image/gif"}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a browser says of each form; all are played at once. None of one that it does not know."""
    if find_chromium() is None:
        pytest.skip(NO_CHROMIUM)
    folder = tmp_path_factory.mktemp("films")
    paths = {str(number): folder / f"{number}.{form.container}" for number, form in enumerate(FORMS.values())}

    def answer(route: Route) -> None:
        path = paths.get(route.request.url.removeprefix(SITE))
        if path is None:
            route.fulfill(body="<body>", content_type="text/html")
        else:
            kind = path.suffix[1:]
            route.fulfill(path=path, content_type=PICTURES.get(kind, f"video/{kind}"))

    for path, form in zip(paths.values(), FORMS.values(), strict=True):
        encode(FILM, path, form, audio=tone(48_000, 48_000))
    with running_chromium() as browser:
        page = browser.new_page()
        page.route("**/*", answer)
        page.goto(SITE)
        addresses = [[SITE + number, path.suffix[1:] in PICTURES] for number, path in paths.items()]
        found = page.evaluate(ALL, [addresses, PLACE])
        knows_h265 = page.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=hvc1.1.6.L93.B0')")
    yield {
        name: None if FORMS[name].codec is H265 and not knows_h265 else what
        for name, what in zip(FORMS, found, strict=True)
    }


@pytest.mark.parametrize("name", FORMS)
def test_a_film_plays_in_a_browser_to_its_last_frame(seen: dict[str, Any], name: str) -> None:
    shown, form = seen[name], FORMS[name]
    if shown is None:
        pytest.skip(f"this browser does not know {name}")
    assert "error" not in shown, shown
    assert shown["frames"] == FILM.frame_count
    assert shown["size"] == [FILM.width, FILM.height]
    assert abs(shown["seconds"] - FILM.frame_count / FILM.frame_rate) < (0.03 if form.sound_codec else 0.01)
    last = frames_of(FILM)[-1][PLACE[1], PLACE[0]] / 257
    # A frame is half of this away from the one before it.
    assert np.abs(np.array(shown["pixel"]) - last)[:2].max() < 2.3
    assert shown["heard"] > 0 if form.sound_codec else shown["again"] == math.inf
