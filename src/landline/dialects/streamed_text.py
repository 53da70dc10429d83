"""Text of one kind as servers stream it, once: what is said again, or so far in place of what is new, is left out."""

from typing import Literal

SURE_CHARS = 8
"""A repetition that is shorter may be what the model says: "ha" and "ha"."""
SURE_GROWTHS = 2
"""How many pieces in a row must say everything before them, and more, until it is the server's way to stream."""
SURE_WORD_CHARS = 5
"""Of an answer of two pieces, the second of which goes on from the first without a gap."""


class StreamedText:
    """The text, the thoughts or the refusal of one answer.

    What was given cannot be withdrawn. So the first pieces that say everything before them are held until it is clear what
    they are; of other answers that is clear at the second piece. What is not sure is taken for what the model says.
    """

    def __init__(self) -> None:
        self._way: Literal["unsure", "new", "so far"] = "unsure"
        """What a piece is: not known yet, what is new, or everything so far."""
        self._pieces: list[str] = []
        """What was given and, behind it, what is held; everything so far is one piece."""
        self._held = 0
        """How many of the pieces are held; the others were given."""
        self._growths = 0

    @property
    def has_begun(self) -> bool:
        return bool(self._pieces)

    @property
    def is_holding(self) -> bool:
        return self._held > 0

    def feed(self, text: str, *, is_last: bool = False) -> str:
        """What of the piece is to be said. `is_last`: it came with the answer's end, where servers say it once more."""
        if self._way == "new" and not is_last:
            self._pieces.append(text)
            return text
        if is_last and self._way != "so far":
            whole = "".join(self._pieces)
            if _is_once_more(whole, text, len(self._pieces)):
                return self.end() + text[len(whole) :]
        return self._judge(text)

    def settle(self, text: str) -> str:
        """What was not said yet of the whole text, which the server says once more."""
        whole = "".join(self._pieces)
        if self._held and not text.startswith(whole) and text.startswith(self._pieces[-1]):
            whole, self._held = self._pieces[0], 0
        rest = self.end()
        if not text.startswith(whole):
            return rest
        self._way, self._pieces = "new", [text]
        return rest + text[len(whole) :]

    def end(self) -> str:
        """What is held, as far as it says anything new."""
        if not self._held:
            return ""
        first, *held = self._pieces[-self._held - 1 :]
        self._held, self._way = 0, "new"
        return held[0][len(first) :] if len(held) == 1 and _is_one_word(first, held[0]) else "".join(held)

    def _judge(self, text: str) -> str:
        if not self._pieces or self._way == "new":
            self._pieces.append(text)
            return text
        before = self._pieces[-1]
        is_so_far = text.startswith(before) and not before[:1].isspace()
        if text == before and self._way == "unsure" and not self._held:
            is_so_far = False  # the same token again: nothing grows, so nothing is held back
        if self._way == "so far":
            self._pieces = [text if is_so_far else before + text]
            return text[len(before) :] if is_so_far else text
        if not is_so_far:
            held, self._held, self._way = self._held, 0, "new"
            self._pieces.append(text)
            return "".join(self._pieces[-held - 1 :])
        self._held += 1
        self._growths += len(text) > len(before)
        self._pieces.append(text)
        if self._growths < SURE_GROWTHS or len(text) < SURE_CHARS or _is_periodic(text):
            return ""
        said = len(self._pieces[0])
        self._way, self._pieces, self._held = "so far", [text], 0
        return text[said:]


def _is_once_more(whole: str, text: str, pieces: int) -> bool:
    """Whether a last piece says the whole answer again, to its letter or with more behind it."""
    if len(whole) < SURE_CHARS or not text.startswith(whole) or _is_periodic(whole):
        return False
    return text == whole or pieces > 1 or len(whole) >= 2 * SURE_CHARS


def _is_one_word(first: str, second: str) -> bool:
    """Whether nobody would say the second right behind the first, whose text it begins with."""
    needed = SURE_CHARS if first[-1:].isspace() else SURE_WORD_CHARS
    return len(second) > len(first) >= needed and not _is_periodic(second)


def _is_periodic(text: str) -> bool:
    """Whether the text says one thing again and again, as a model may."""
    return any(each in (each + each)[1:-1] for each in (text, text.strip() + " "))
