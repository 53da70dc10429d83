"""What a store must say, kept in plain lists: each response has its whole history, copied."""

from dataclasses import dataclass, field

from landline.wire.items import Item

CONTINUABLE = ("completed", "incomplete")


@dataclass
class ReferenceResponse:
    history: list[str]
    """Ids of everything before its own input."""
    input: list[str]
    created_at: float
    conversation: str | None
    lists_history: bool = False
    status: str = "in_progress"
    output: list[str] = field(default_factory=list[str])

    @property
    def listed_input(self) -> list[str]:
        return [*self.history, *self.input] if self.lists_history else self.input

    @property
    def lineage(self) -> list[str] | None:
        return [*self.history, *self.input, *self.output] if self.status in CONTINUABLE else None


@dataclass
class ReferenceConversation:
    items: list[str]
    writer: str | None = None


@dataclass
class Reference:
    """One tenant's state."""

    responses: dict[str, ReferenceResponse] = field(default_factory=dict[str, ReferenceResponse])
    conversations: dict[str, ReferenceConversation] = field(default_factory=dict[str, ReferenceConversation])

    def begin(  # noqa: PLR0913 - as the store that it mirrors
        self,
        name: str,
        parent: str | None,
        conversation: str | None,
        inherited: list[str],
        at: float,
        *,
        follows_input: bool = False,
        lists_history: bool = False,
    ) -> None:
        history: list[str] = []
        if conversation is not None:
            history = list(self.conversations[conversation].items)
        elif parent is not None:
            before = self.responses[parent]
            history = [*before.history, *before.input] if follows_input else list(before.lineage or ())
        history += inherited
        self.responses[name] = ReferenceResponse(history, [f"{name}.in"], at, conversation, lists_history)

    def finish(self, name: str, status: str) -> None:
        written = next((each for each in self.conversations.values() if each.writer == name), None)
        if written is not None:
            written.writer = None
        response = self.responses.get(name)
        if response is None:
            return
        response.status = status
        response.output = [f"{name}.out"]
        if written is not None and status in CONTINUABLE:
            written.items += [*response.input, *response.output]

    def crash(self) -> None:
        """The process dies and another opens the store."""
        for response in self.responses.values():
            if response.status == "in_progress":
                response.status = "incomplete"
        for conversation in self.conversations.values():
            conversation.writer = None

    def expire(self, before: float) -> int:
        gone = [
            name
            for name, response in self.responses.items()
            if response.created_at <= before and response.status != "in_progress"
        ]
        for name in gone:
            del self.responses[name]
        return len(gone)

    def findable(self) -> set[str]:
        """Ids of all items that some response or conversation shows; not of those that no stored response said."""
        shown = {item for each in self.responses.values() for item in [*each.listed_input, *each.output]}
        return {item for item in shown if not item.endswith(".old")} | {
            item for each in self.conversations.values() for item in each.items
        }


def item_ids(items: tuple[Item, ...]) -> list[str | None]:
    return [item.id for item in items]
