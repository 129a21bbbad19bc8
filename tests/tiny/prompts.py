# ruff: noqa: RUF001
"""Prompts in several scripts, the same in every run."""

from __future__ import annotations

import random

WORDS = {
    "Latin": "a red fox runs over the snow, camera pans left; déjà vu — straße, niño, łódź 35mm f/1.8",
    "Chinese": "一只红色的狐狸 在雪地里奔跑 ， 镜头向左摇 。 黎明 湖",
    "Japanese": "赤いキツネが 雪の上を 走る 。 カメラ ｶﾒﾗ",
    "Korean": "붉은 여우가 눈 위를 달린다 카메라",
    "Cyrillic": "красная лиса бежит по снегу Ёж",
    "Arabic": "ثعلب أحمر يركض فوق الثلج ؟",
    "Hebrew": "שועל אדום רץ על השלג",
    "Devanagari": "लाल लोमड़ी बर्फ पर दौड़ती है",
    "Thai": "สุนัขจิ้งจอก สีแดง วิ่ง บนหิมะ",
    "Greek": "κόκκινη αλεπού τρέχει",
    "signs": "🦊❄️ ½ ＡＢＣ ① ﬁlm \"quoted\" (soft:1.2) <tag> \\n #8 100% €5 café \u200d",
}  # fmt: skip


def prompts(count: int) -> list[str]:
    """Words of one script, or of two mixed; now and then with the white space that people paste."""
    dice = random.Random(7)  # noqa: S311 - the same prompts in every run
    scripts = [words.split(" ") for words in WORDS.values()]
    made = []
    for index in range(count):
        words = scripts[index % len(scripts)] + (dice.choice(scripts) if index % 3 == 0 else [])
        gap = dice.choice([" ", " ", " ", "  ", "\n", "\t"])
        text = gap.join(dice.choices(words, k=dice.randint(1, 30)))
        made.append(dice.choice(["", "", " "]) + text + dice.choice(["", "", " "]))
    return made
