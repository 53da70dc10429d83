"""Counts who holds which links, so that history that is shared weighs once."""

from collections.abc import Callable

from landline.session.lineage import Link


def own_bytes(link: Link) -> int:
    """JSON bytes of the link's own items."""
    return link.size_bytes - (link.parent.size_bytes if link.parent is not None else 0)


class HeldLinks:
    """Every link that is held, or that a held link follows."""

    def __init__(self, weigh: Callable[[Link], int] = own_bytes) -> None:
        """`weigh` says what one link costs, in bytes, without its parents."""
        self.size_bytes = 0
        """What all of them cost."""
        self._weigh = weigh
        self._holders: dict[int, int] = {}

    def __contains__(self, link: Link) -> bool:
        return id(link) in self._holders

    def hold(self, link: Link | None) -> list[Link]:
        """Counts one more holder; a link that had none is new, and so holds its parent in turn. Returns the new ones."""
        new: list[Link] = []
        while link is not None:
            holders = self._holders.get(id(link), 0)
            self._holders[id(link)] = holders + 1
            if holders:
                break
            self.size_bytes += self._weigh(link)
            new.append(link)
            link = link.parent
        return new

    def release(self, link: Link | None) -> list[Link]:
        """Counts one holder less; a link without any is let go, and with it its hold on its parent. Returns those let go."""
        gone: list[Link] = []
        while link is not None:
            holders = self._holders[id(link)] - 1
            if holders:
                self._holders[id(link)] = holders
                break
            del self._holders[id(link)]
            self.size_bytes -= self._weigh(link)
            gone.append(link)
            link = link.parent
        return gone

    def clear(self) -> None:
        """Lets everything go."""
        self._holders.clear()
        self.size_bytes = 0
