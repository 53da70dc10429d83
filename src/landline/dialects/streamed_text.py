"""Deduplicates streamed text: servers repeat a text at the end, or send the whole text so far in every piece.

Used by the stream decoders of all dialects that rebuild answers, one `StreamedText` for each text, reasoning or refusal.
"""

from typing import Literal

MIN_REPEATED_CHARS = 8
"""A shorter repetition may be the model's own words: "ha" and "ha"."""
CUMULATIVE_PIECES = 2
"""After so many pieces in a row that extend everything before them, the server is known to send cumulative pieces."""
MIN_WORD_CHARS = 5
"""Minimum length of the first of two pieces for the second, which extends it, to count as cumulative."""


class StreamedText:
    """The text, the reasoning or the refusal of one answer.

    Text that was passed on cannot be withdrawn. So pieces that extend everything before them are held until it is clear
    whether the server sends cumulative text; for other answers the second piece decides. In doubt, a piece counts as new.
    """

    def __init__(self) -> None:
        self._mode: Literal["unsure", "incremental", "cumulative"] = "unsure"
        """What the pieces are: not known yet, only the new text, or the whole text so far."""
        self._pieces: list[str] = []
        """The pieces passed on, followed by those held; a cumulative text is kept as one piece."""
        self._held = 0
        """How many of the pieces are held; the others were passed on."""
        self._growths = 0

    @property
    def has_begun(self) -> bool:
        return bool(self._pieces)

    @property
    def is_holding(self) -> bool:
        return self._held > 0

    def feed(self, text: str, *, is_last: bool = False) -> str:
        """The part of the piece that is new. `is_last`: it came with the end of the answer, where servers repeat the text."""
        if self._mode == "incremental" and not is_last:
            self._pieces.append(text)
            return text
        if is_last and self._mode != "cumulative":
            # Gateways send the whole answer again with its finish reason, after incremental pieces.
            whole = "".join(self._pieces)
            if _is_repetition(whole, text, len(self._pieces)):
                return self.end() + text[len(whole) :]
        return self._judge(text)

    def settle(self, text: str) -> str:
        """The part not passed on yet of the whole text, which the server repeats."""
        whole = "".join(self._pieces)
        # If pieces are held, they may be cumulative: then the newest of them, not all together, begins the whole text.
        if self._held and not text.startswith(whole) and text.startswith(self._pieces[-1]):
            whole, self._held = self._pieces[0], 0
        rest = self.end()
        if not text.startswith(whole):
            return rest
        self._mode, self._pieces = "incremental", [text]
        return rest + text[len(whole) :]

    def end(self) -> str:
        """The new part of the held pieces."""
        if not self._held:
            return ""
        # A single held piece is no proof of cumulative text; it counts as such only if it reads as a longer `first`.
        first, *held = self._pieces[-self._held - 1 :]
        self._held, self._mode = 0, "incremental"
        return held[0][len(first) :] if len(held) == 1 and _is_extension(first, held[0]) else "".join(held)

    def _judge(self, text: str) -> str:
        if not self._pieces or self._mode == "incremental":
            self._pieces.append(text)
            return text
        before = self._pieces[-1]
        # A text that begins with white space is a token in the middle (" ha", " ha"): whole answers begin with a word.
        is_cumulative = text.startswith(before) and not before[:1].isspace()
        if text == before and self._mode == "unsure" and not self._held:
            is_cumulative = False  # the same token twice: the text does not grow, so holding it would only delay it
        if self._mode == "cumulative":
            self._pieces = [text if is_cumulative else before + text]
            return text[len(before) :] if is_cumulative else text
        if not is_cumulative:
            held, self._held, self._mode = self._held, 0, "incremental"
            self._pieces.append(text)
            return "".join(self._pieces[-held - 1 :])
        self._held += 1
        self._growths += len(text) > len(before)
        self._pieces.append(text)
        if self._growths < CUMULATIVE_PIECES or len(text) < MIN_REPEATED_CHARS or _is_periodic(text):
            return ""
        # Only the first piece was passed on: every later one was held because it might repeat it.
        passed_on = len(self._pieces[0])
        self._mode, self._pieces, self._held = "cumulative", [text], 0
        return text[passed_on:]


def _is_repetition(whole: str, text: str, pieces: int) -> bool:
    """Whether the last piece repeats the whole answer, exactly or with more text behind it."""
    if len(whole) < MIN_REPEATED_CHARS or not text.startswith(whole) or _is_periodic(whole):
        return False
    return text == whole or pieces > 1 or len(whole) >= 2 * MIN_REPEATED_CHARS


def _is_extension(first: str, second: str) -> bool:
    """Whether the second piece, which begins with the first, makes no sense as its continuation."""
    needed = MIN_REPEATED_CHARS if first[-1:].isspace() else MIN_WORD_CHARS
    return len(second) > len(first) >= needed and not _is_periodic(second)


def _is_periodic(text: str) -> bool:
    """Whether the text repeats one unit, as models do in loops: then a repetition proves nothing about the server."""
    return any(each in (each + each)[1:-1] for each in (text, text.strip() + " "))
