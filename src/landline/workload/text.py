"""Made-up text that compresses like real text: words of an invented vocabulary, some of them in phrases that come again."""

import random
from itertools import accumulate

_LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
_LETTER_SHARES = (127, 91, 82, 75, 70, 67, 63, 61, 60, 43, 40, 28, 28, 24, 24, 22, 20, 20, 19, 15, 10, 8, 2, 2, 1, 1)
"""How often each is in English, in thousandths."""
_LETTER_WEIGHTS = tuple(accumulate(_LETTER_SHARES))
_WORDS = 6000
_LINE_WORDS = 11
_PHRASE_WORDS = (3, 9)
_MEMORY_WORDS = 2500
"""Phrases come from so many of the last words: most of them within the 32 KiB that deflate looks back."""


class TextSource:
    """Endless text, the same for the same seed.

    Words follow Zipf's law, as in any language. Real text repeats more than single words, so a share of it is copied from
    what came before: `repetition` is tuned until deflate makes of the text what it makes of the real text it stands for.
    """

    def __init__(self, seed: int, repetition: float) -> None:
        """`repetition` is the probability, at each word, that a phrase from before follows instead."""
        self._random = random.Random(seed)
        self._repetition = repetition
        self._vocabulary = [self._new_word() for _ in range(_WORDS)]
        self._weights = list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))
        self._said: list[str] = []

    def take(self, size_bytes: int) -> str:
        """The next so many bytes, as they are in a JSON string: a line break takes two."""
        lines: list[str] = []
        left = size_bytes
        while left > 0:
            line = " ".join(self._next_words())[:left]
            left -= len(line)
            if left in (1, 2):  # no room for a line break and something behind it
                line += "." * left
            lines.append(line)
            left -= 2
        return "\n".join(lines)

    def _next_words(self) -> list[str]:
        words: list[str] = []
        length = self._random.randint(_LINE_WORDS // 2, _LINE_WORDS * 3 // 2)
        while len(words) < length:
            if len(self._said) > _PHRASE_WORDS[1] and self._random.random() < self._repetition:
                start = self._random.randrange(max(0, len(self._said) - _MEMORY_WORDS), len(self._said))
                words += self._said[start : start + self._random.randint(*_PHRASE_WORDS)]
            else:
                words.append(self._random.choices(self._vocabulary, cum_weights=self._weights)[0])
        self._said += words
        return words

    def _new_word(self) -> str:
        length = self._random.randint(2, 9)
        return "".join(self._random.choices(_LETTERS, cum_weights=_LETTER_WEIGHTS, k=length))
