"""`make peers`: installs the servers that are compared, probes what each claims, and prints what came of it."""

import argparse
import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from peers.adapters import ABSENT, PEERS, Absent, Peer
from peers.clients import Server
from peers.environments import Installed, NotInstalledError, install
from peers.probe import probe
from peers.report import Probed, probe_table
from peers.running import NotStartedError, probe_upstream, started


def main() -> None:
    parser = argparse.ArgumentParser(prog="make peers", description=(__doc__ or "").partition(": ")[2])
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", action="append", metavar="NAME", choices=names, help=f"one of {', '.join(names)}")
    chosen = [peer for peer in PEERS if not parser.parse_args().only or peer.name in parser.parse_args().only]
    installed, absent = _install(chosen)
    probed, not_started = _probe(installed)
    print("\n".join(probe_table(probed, [*absent, *not_started, *ABSENT])))


def _install(peers: Sequence[Peer]) -> tuple[list[tuple[Peer, Installed]], list[Absent]]:
    installed: list[tuple[Peer, Installed]] = []
    absent: list[Absent] = []
    for peer in peers:
        print(f"{peer.name}: installing {peer.package} where it is not installed yet …", flush=True)
        try:
            installed.append((peer, install(peer, version("landline"))))
        except NotInstalledError as error:
            absent.append(Absent(peer.name, str(error)))
    return installed, absent


def _probe(installed: Sequence[tuple[Peer, Installed]]) -> tuple[list[Probed], list[Absent]]:
    probed: list[Probed] = []
    absent: list[Absent] = []
    with probe_upstream() as upstream:
        for peer, program in installed:
            print(f"{peer.name} {program.version}: probing {', '.join(peer.claims)} …", flush=True)
            try:
                with started(peer, program, upstream) as running:
                    server = Server(running.base_url, running.headers, running.model)
                    findings = asyncio.run(probe(server, peer.claims))
                    probed.append(Probed(peer.name, program.version, peer.note, findings))
            except NotStartedError as error:
                absent.append(Absent(peer.name, str(error)))
    return probed, absent


if __name__ == "__main__":
    main()
