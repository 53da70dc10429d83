"""The diagram of the circuit breaker, made from its table. docs/routing.md holds it; a test compares them."""

from landline.routing.health import TRANSITIONS


def breaker_diagram() -> str:
    """A Mermaid state diagram."""
    arrows = [f"    {state} --> {after}: {incident}" for (state, incident), after in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> closed", *arrows])


if __name__ == "__main__":
    print(breaker_diagram())
