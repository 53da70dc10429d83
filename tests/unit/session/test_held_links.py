"""Held links: shared history weighs once, and goes with its last holder."""

from landline.session.held_links import HeldLinks
from landline.session.lineage import Link
from landline.wire.items import Item


def item(size: int) -> Item:
    return Item(raw=b"x" * size, type="message")


def test_shared_links_count_once_and_go_with_their_last_holder() -> None:
    held = HeldLinks()
    root = Link(None, [item(10)])
    left, right = Link(root, [item(1)]), Link(root, [item(2)])
    assert held.hold(left) == [left, root]
    assert held.hold(right) == [right]
    assert held.size_bytes == 13
    assert held.release(left) == [left]
    assert (left in held, root in held, held.size_bytes) == (False, True, 12)
    assert held.release(right) == [right, root]
    assert held.size_bytes == 0


def test_link_is_held_as_often_as_it_was_asked_for() -> None:
    held = HeldLinks(lambda _: 5)
    root = Link(None, [item(10)])
    assert (held.hold(root), held.hold(root)) == ([root], [])
    assert held.release(root) == []
    assert held.size_bytes == 5
    held.clear()
    assert (root in held, held.size_bytes) == (False, 0)


def test_nothing_is_held_of_no_history() -> None:
    held = HeldLinks()
    assert (held.hold(None), held.release(None), held.size_bytes) == ([], [], 0)
