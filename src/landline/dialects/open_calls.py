"""The calls of the model's newest message, and the outputs that came for them."""

from typing import Generic

import msgspec

from landline.dialects.content import Content, PartT

NO_OUTPUT = "(no output yet)"
"""Stands for the output of a call that has none when the conversation goes on."""


class OpenCalls(msgspec.Struct, Generic[PartT]):
    """Calls by their places in the message: other servers may give two of them one id."""

    outputs: dict[int, Content[PartT]] = {}
    unanswered: dict[str, list[int]] = {}
    """The places of calls without an output, by their ids."""

    def copy(self) -> "OpenCalls[PartT]":
        """One that can be added to without changing this one."""
        return OpenCalls(dict(self.outputs), {call_id: list(places) for call_id, places in self.unanswered.items()})

    def add(self, call_id: str, place: int) -> None:
        """The model made a call."""
        self.unanswered.setdefault(call_id, []).append(place)

    def answer(self, call_id: str, output: Content[PartT]) -> bool:
        """Keeps the output of the first call of that id which has none; False if there is no such call."""
        places = self.unanswered.get(call_id)
        if places is None:
            return False
        self.outputs[places.pop(0)] = output
        if not places:
            del self.unanswered[call_id]
        return True

    def output(self, place: int) -> Content[PartT]:
        """What came for a call, or says that nothing did."""
        return self.outputs.get(place) or Content((NO_OUTPUT,))
