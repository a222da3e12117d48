"""Texts to fill files with: sentences made of common words and characters, with what real texts have besides.

That is quotes and line breaks (escaped in JSON), figures, a little code with angle brackets, and emoji.
"""

from random import Random

_COMMON_WORDS = (
    "the of and to in is that for it with as was on be by at this from have or an they which one you were all "
    "their there been if more when will would who so no out up into them some could time these two may then "
    "other model data answer question language training because people water river city year work number between "
    "system important example different often without through around country history energy process result "
    "change small large public method follow learn simple should temperature government development function "
    "return value table network memory computer sentence paragraph reason explain"
)

_CHARACTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所"
    "民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日"
    "那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想"
    "已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少图山统接知较将组见计别她手角期根论运农指"
)

_CODE = (
    "for (int i = 0; i < n; i++) {\n    total += values[i];\n}",
    'if (left < right && name != "") {\n\treturn left + (right - left) / 2;\n}',
    '<div class="card"><p>Hello</p></div>',
    "SELECT name, COUNT(*) FROM orders WHERE price < 100 GROUP BY name;",
    "def area(r: float) -> float:\n    return 3.14159 * r ** 2  # r >= 0",
)
_EMOJI = ("😀", "👍", "🎉", "✅")

#: Sentences a language; drawn from them, no two lines come out alike.
_POOL = 2000


class Texts:
    """Draws texts. Deterministic for a given generator."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._words = _COMMON_WORDS.split()
        self._english = [self._english_sentence() for _ in range(_POOL)]
        self._chinese = [self._chinese_sentence() for _ in range(_POOL)]

    def text(self, size: int, *, chinese: bool) -> str:
        """Return a text of about ``size`` bytes as UTF-8, in one language and now and then a line of the other."""
        random = self._random
        pool, one = (self._chinese, 60) if chinese else (self._english, 75)
        parts = random.choices(pool, k=max(1, round(size / one)))
        odd = random.random()
        if odd < 0.02:
            parts.append(f"\n\n{random.choice(_CODE)}\n")
        elif odd < 0.05:
            parts.append(random.choice(_EMOJI))
        elif odd < 0.12:
            parts.append(random.choice(self._english if chinese else self._chinese))
        return "".join(parts)

    def _english_sentence(self) -> str:
        random = self._random
        words = random.choices(self._words, k=random.randrange(6, 18))
        if random.random() < 0.1:
            words[2] = f'"{words[2]}"'
        if random.random() < 0.15:
            words[4] = str(random.randrange(3000))
        end = random.choices((". ", ", ", "? ", ".\n", ".\n\n"), (60, 15, 10, 10, 5))[0]
        return " ".join(words).capitalize() + end

    def _chinese_sentence(self) -> str:
        random = self._random
        text = "".join(random.choices(_CHARACTERS, k=random.randrange(8, 28)))
        if random.random() < 0.1:
            text = f"“{text[:4]}”{text[4:]}"
        if random.random() < 0.15:
            text += str(random.randrange(3000))
        return text + random.choices(("。", ",", "?", "。\n", "。\n\n"), (55, 25, 10, 7, 3))[0]
