"""How far an answer has come: what the reader of its connection decides by whether to wait for more."""


class Progress:
    """Kept by a decoder while it reads one answer."""

    __slots__ = ("is_counted", "is_finished", "resumptions", "signs")

    def __init__(self) -> None:
        self.signs = 0
        """Grows with everything that belongs to the answer, pieces of a record too; not with comments, pings, or chunks
        that say nothing, which servers send to keep a connection open whether or not the model still writes."""
        self.is_finished = False
        """Whether the model's own ending is known. Usage, and the end of the stream, may still follow."""
        self.is_counted = False
        """Whether usage followed the ending in a record of its own, so that only the end of the stream is missing."""
        self.resumptions = 0
        """How often more of the answer followed an ending. Some gateways write a finish reason into every chunk, others a
        tool call behind it."""

    def note(self) -> None:
        """Something of the answer came."""
        self.signs += 1

    def note_output(self) -> None:
        """Something that the model wrote came."""
        self.signs += 1
        if self.is_finished:
            self.resumptions += 1
            self.is_counted = False

    def note_finish(self, *, is_new: bool) -> None:
        """The model's ending came. Said once more in the same words, it is no sign of life."""
        self.signs += is_new or not self.is_finished
        self.is_finished = True

    def note_usage(self, *, is_alone: bool, is_new: bool) -> None:
        """Usage came, alone in its record or beside output or an ending."""
        self.signs += is_new
        self.is_counted = self.is_finished and (is_alone or self.is_counted)
