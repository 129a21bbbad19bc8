"""Draws the pack's icon (400x400) and banner (21:9): three clips that overlap, as the stages of a film do.

python docs/brand.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

DOCS = Path(__file__).parent
FINE = 4  # drawn larger and scaled down, for smooth edges
GROUND = "#16181d"
# ground and shape of each clip, the colours of the demo's film
CLIPS = (("#0d0d10", "#ee2024"), ("#eef4f2", "#22d9dd"), ("#6c6e6c", "#f4ea2a"))


def clip(number: int, width: int, height: int) -> Image.Image:
    ground, colour = CLIPS[number]
    picture = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), height // 7, ground, "#ffffff", max(2, height // 60))
    x, y, r = width // 2, height // 2, height * 0.27
    if number == 0:
        draw.ellipse((x - r, y - r, x + r, y + r), colour)
    elif number == 1:
        draw.polygon(((x, y - r), (x - r, y + r * 0.8), (x + r, y + r * 0.8)), colour)
    else:
        draw.rectangle((x - r * 0.9, y - r * 0.9, x + r * 0.9, y + r * 0.9), colour)
    return picture


def strip(canvas: Image.Image, left: int, top: int, width: int, height: int, step: int) -> None:
    """Paste the three clips, each half seen through where the next overlaps it."""
    for number in range(3):
        picture = clip(number, width, height)
        if number:
            seen = Image.new("L", picture.size, 255)
            seen.paste(140, (0, 0, width - step, height))
            picture.putalpha(ImageChops.multiply(picture.getchannel("A"), seen))
        canvas.alpha_composite(picture, (left + number * step, top))


def main() -> None:
    side = 400 * FINE
    icon = Image.new("RGBA", (side, side), GROUND)
    strip(icon, side // 20, side * 5 // 16, side * 6 // 16, side * 6 // 16, side * 21 // 80)
    icon.convert("RGB").resize((400, 400), Image.Resampling.LANCZOS).save(DOCS / "icon.png", optimize=True)

    width, height = 1260 * FINE // 2, 540 * FINE // 2
    banner = Image.new("RGBA", (width, height), GROUND)
    strip(banner, width // 20, height * 9 // 32, height * 14 // 32, height * 14 // 32, height * 10 // 32)
    draw = ImageDraw.Draw(banner)
    left = width // 20 + height * 36 // 32
    draw.text((left, height * 11 // 32), "Longtake", "white", ImageFont.load_default(height // 5))
    draw.text((left, height * 19 // 32), "long, continuous video", "#9aa3b2", ImageFont.load_default(height // 14))
    banner.convert("RGB").resize((1260, 540), Image.Resampling.LANCZOS).save(DOCS / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
