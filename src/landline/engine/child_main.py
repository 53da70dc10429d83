"""The child process: llama.cpp's own server on a loopback port, alive as long as its parent holds the pipe.

Reads one JSON line (`ChildSpec`) on stdin, writes one JSON line (`{"port": …}` or `{"error": …}`) on stdout, and ends when
stdin does: a parent that is gone, even by kill -9, closes the pipe. llama.cpp logs to stderr.
"""

import importlib
import os
import shutil
import sys
from typing import Any

import msgspec


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the child needs to know."""

    model: str
    api_key: str
    slots: int
    context_per_slot: int
    threads: int
    gpu_layers: int = 0
    slot_dir: str = ""
    chat_template: str = ""
    """Jinja source; empty means the model's own."""
    mmproj: str = ""


class ChildReady(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the child reports once, on stdout."""

    port: int = 0
    error: str = ""


BATCH_TOKENS = 256
"""A prefill runs in steps of this size: between two steps other lanes decode and a cancelled turn stops. On 2 cores a
step takes about 1.5 s, the library's own 2048 tokens take 15 s. It costs nothing: 1051 tokens took 10.1 CPU seconds, with
steps of 128 10.4 and of 512 10.7."""


def main() -> None:
    report = os.dup(1)
    os.umask(0o077)  # saved slots hold conversations
    os.dup2(2, 1)  # whatever the library prints must not be taken for the report
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildSpec)
    try:
        server = _start_server(spec)
    except RuntimeError as error:  # what the binding raises when llama.cpp refuses
        os.write(report, msgspec.json.encode(ChildReady(error=str(error) or "llama.cpp did not start")) + b"\n")
        os._exit(1)
    port = int(server.listening_address.rsplit(":", 1)[1])
    os.write(report, msgspec.json.encode(ChildReady(port=port)) + b"\n")
    os.close(report)
    sys.stdin.buffer.read()
    if spec.slot_dir:  # a parent that was killed could not do it
        shutil.rmtree(spec.slot_dir, ignore_errors=True)
    os._exit(0)  # llama.cpp's threads are not waited for


def _start_server(spec: ChildSpec) -> Any:
    # OpenMP reads this when the library is loaded. Spinning barriers cost 2-4 times when cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = spec.model
    params.mmproj.path = spec.mmproj
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # the system chooses, so no other process can take it in between
    params.api_keys = [spec.api_key]
    params.ui = False
    params.n_parallel = spec.slots
    params.n_ctx = spec.slots * spec.context_per_slot
    params.kv_unified = False  # one sequence's step would read every other sequence's cells
    params.n_batch = BATCH_TOKENS
    params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = spec.threads
    params.cpuparams_batch.n_threads = spec.threads
    params.n_gpu_layers = spec.gpu_layers
    kinds = xllamacpp.llama_flash_attn_type
    on_cpu = spec.gpu_layers == 0
    params.flash_attn_type = kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED if on_cpu else kinds.LLAMA_FLASH_ATTN_TYPE_AUTO
    params.fit_params = not on_cpu
    params.use_jinja = True
    params.chat_template = spec.chat_template
    params.slot_save_path = spec.slot_dir
    params.cache_ram_mib = 0  # parking is ours, by lineage
    params.warmup = False  # costs start time, wins 10 ms of the first turn
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
