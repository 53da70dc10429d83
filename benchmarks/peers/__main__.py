"""`make peers`: installs other servers of the Responses API, probes what each claims, and times them side by side."""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version

import msgspec
import uvloop

from landline.bench.measures import UPSTREAM_ALONE, Effort, MeasuredServer
from landline.bench.processes import raise_descriptor_limit, started_upstream
from landline.bench.results import Table, setting_of
from peers import page, report
from peers.adapters import ABSENT, PEERS, Absent, Peer, Way
from peers.clients import Server
from peers.environments import Installed, NotInstalledError, install
from peers.probe import probe, ways_to_time
from peers.report import Comparison, Probed
from peers.running import NotStartedError, probe_upstream, started
from peers.timing import FULL_EFFORT, QUICK_EFFORT, TimedServer, count_samples, take_tables, timed_server

_PROGRESS_S = 10.0


def main() -> None:
    options = _read_options()
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]
    installed, absent = _install(chosen)
    setting = setting_of(f"make peers{' ARGS=--quick' if options.quick else ''}")
    begun = time.perf_counter()
    probed, not_started = _probe(installed)
    effort = QUICK_EFFORT if options.quick else FULL_EFFORT
    effort = msgspec.structs.replace(effort, rounds=options.rounds or effort.rounds)
    ways = {each.name: ways_to_time(each.findings) for each in probed}
    tables = [] if options.probe_only else _time(installed, ways, effort)
    comparison = Comparison(
        setting=setting,
        rounds=effort.rounds,
        seconds=round(time.perf_counter() - begun, 1),
        probed=probed,
        absent=[*absent, *not_started, *ABSENT],
        tables=tables,
    )
    print("\n".join(report.describe(comparison)))
    if not (options.only or options.quick or options.probe_only):
        page.write_everything(comparison)


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make peers", description=(__doc__ or "").partition(": ")[2])
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", action="append", metavar="NAME", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="rounds of interleaved samples")
    parser.add_argument("--quick", action="store_true", help="few, small samples")
    parser.add_argument("--probe-only", action="store_true", help="time nothing")
    return parser.parse_args()


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


def _time(installed: Sequence[tuple[Peer, Installed]], ways: dict[str, list[Way]], effort: Effort) -> list[Table]:
    """The tables of all measures. What passed in no way is not started."""
    raise_descriptor_limit()
    with ExitStack() as stack:
        upstream = stack.enter_context(started_upstream())
        alone = MeasuredServer(name=UPSTREAM_ALONE, base_url=upstream.base_url, pid=upstream.pid, model="scripted")
        servers: list[TimedServer] = []
        for peer, program in installed:
            if ways.get(peer.name):
                print(f"{peer.name}: starting …", flush=True)
                base_url = upstream.base_url.removesuffix("/v1")
                running = stack.enter_context(started(peer, program, base_url))
                servers.append(
                    timed_server(peer.name, running.base_url, running.process_id, running.model, ways[peer.name])
                )
        on_step = _progress(count_samples(servers, alone, effort))
        return uvloop.run(take_tables(servers, alone, effort, on_step))


def _progress(samples: int) -> Callable[[str], None]:
    """Prints a line every few seconds, between samples only."""
    begun = last = time.perf_counter()
    count = 0

    def on_step(what: str) -> None:
        nonlocal last, count
        count += 1
        now = time.perf_counter()
        if now - last >= _PROGRESS_S:
            last = now
            print(f"{now - begun:4.0f} s, sample {count} of {samples}: {what}", flush=True)

    return on_step


if __name__ == "__main__":
    main()
