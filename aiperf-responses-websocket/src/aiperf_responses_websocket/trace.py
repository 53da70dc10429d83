"""The times and bytes of a turn in AIPerf's own trace, from which it makes its `http_req_*` metrics."""

from aiperf.common.models.trace_models import AioHttpTraceData

from aiperf_responses_websocket.turn import Turn


def trace_of(turn: Turn, *, collects_chunks: bool) -> AioHttpTraceData:
    """`tcp_connect` is everything until the socket is open: DNS, TCP, TLS and the upgrade. Bytes are those of the wire, after
    compression; a socket whose bytes arrive for several lanes at once counts them for the first frame in them."""
    times, chunks = turn.times, turn.exchange.chunks if turn.exchange is not None else []
    trace = AioHttpTraceData(
        tcp_connect_start_perf_ns=times.connect_started_ns,
        tcp_connect_end_perf_ns=times.connected_ns,
        connection_reused_perf_ns=times.reused_ns,
    )
    if times.sent is not None:
        trace.request_send_start_perf_ns = times.sent.started_ns
        trace.request_send_end_perf_ns = times.sent.ended_ns
        trace.request_chunks_count = 1
        trace.request_bytes_total = times.sent.size_bytes
        if collects_chunks:
            trace.request_chunks = [(times.sent.ended_ns, times.sent.size_bytes)]
    if chunks:
        trace.response_status_code = 200
        trace.response_receive_start_perf_ns = chunks[0][0]
        trace.response_receive_end_perf_ns = chunks[-1][0]
        trace.response_chunks_count = len(chunks)
        trace.response_bytes_total = sum(size for _, size in chunks)
        if collects_chunks:
            trace.response_chunks = list(chunks)
    return trace
