"""The scripted upstream of the benchmarks, in a process of its own: answers at once or at a pace, and costs next to nothing.

It speaks chat completions and Responses over HTTP, and Responses over a socket, so that most servers can be put in front of
it. What it answers is asked for in the newest message: `Say 64 words.` comes in one write, `Say 64 words one by one.` in one for
each, and `Say 100 words at 50 a second.` at that pace, each word being the time at which it was written. `landline bench serve` starts it; `landline bench upstream`
does for servers that are to be compared. Of a request nothing is read but that sentence and whether it streams.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, cast

import httptools
import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

MODEL = "scripted"
STAMP_BYTES = 16
"""Of a paced word: microseconds of the monotonic clock, which processes of one machine share, with leading zeros."""
_PLAIN_WORD = "word "
_DEFAULT_WORDS = 64
_SCRIPT = re.compile(rb"Say (\d{1,6}) words(?: at (\d{1,4}) a second| (one by one))?\.")
_STREAMS = (b'"stream":true', b'"stream": true')


class Script(msgspec.Struct, frozen=True):
    """How a turn is answered."""

    words: int = _DEFAULT_WORDS
    """One delta each."""
    per_s: int | None = None
    """None: all at once."""
    is_split: bool = False
    """Whether words that come at once are written one by one."""

    @property
    def sentence(self) -> str:
        """What asks for it."""
        if self.per_s is not None:
            return f"Say {self.words} words at {self.per_s} a second."
        return f"Say {self.words} words{' one by one' if self.is_split else ''}."

    @property
    def duration_s(self) -> float:
        """From the first word to the last."""
        return 0.0 if self.per_s is None else (self.words - 1) / self.per_s


def read_script(body: bytes) -> Script:
    """What the last such sentence of a request asks for; the default where there is none."""
    found = _SCRIPT.match(body, at) if (at := body.rfind(b"Say ")) >= 0 else None
    if found is None:
        return Script()
    per_s = max(1, int(found[2])) if found[2] else None
    return Script(words=max(1, int(found[1])), per_s=per_s, is_split=found[3] is not None)


def stamp() -> str:
    """Now, as a paced word."""
    return f"{time.monotonic_ns() // 1000:0{STAMP_BYTES}d} "


class AnswerForm(Protocol):
    """How an answer is put in bytes; one instance an answer."""

    def begin(self) -> bytes: ...

    def delta(self, text: str) -> bytes: ...

    def end(self, text: str, words: int) -> bytes: ...

    def whole(self, text: str, words: int) -> bytes:
        """The answer to a request that does not stream."""
        ...


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _body(value: object, status: bytes = b"200 OK") -> bytes:
    data = _json(value)
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(data), data)


class _ChatForm:
    """Chat completions over HTTP."""

    def begin(self) -> bytes:
        return _STREAM_HEAD + self._record({"role": "assistant", "content": ""})

    def delta(self, text: str) -> bytes:
        return self._record({"content": text})

    def end(self, text: str, words: int) -> bytes:
        usage: dict[str, object] = {**self._object("chat.completion.chunk"), "choices": [], "usage": self._usage(words)}
        last = self._record({}, "stop") + _chunk(b"data: " + _json(usage) + b"\n\n")
        return last + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def whole(self, text: str, words: int) -> bytes:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return _body({**self._object("chat.completion"), "choices": [choice], "usage": self._usage(words)})

    def _record(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _chunk(b"data: " + _json({**self._object("chat.completion.chunk"), "choices": [choice]}) + b"\n\n")

    def _object(self, kind: str) -> dict[str, object]:
        return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": MODEL}

    def _usage(self, words: int) -> dict[str, int]:
        return {"prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1}


_response_numbers = itertools.count(1)


class _ResponsesForm:
    """Responses; `envelope` puts an event's type and JSON in bytes of its transport."""

    def __init__(self, head: bytes, envelope: Callable[[str, bytes], bytes], tail: bytes) -> None:
        self._head = head
        self._envelope = envelope
        self._tail = tail
        self._numbers = itertools.count()
        number = next(_response_numbers)
        self._id = f"resp_scripted_{number:08d}"
        # Servers that store an answer's items under the upstream's ids refuse one that they have already.
        self._item_id = f"msg_scripted_{number:08d}"
        self._place: dict[str, object] = {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def begin(self) -> bytes:
        response = self._response("in_progress", [])
        item = self._item("in_progress", [])
        return (
            self._head
            + self._event("response.created", response=response)
            + self._event("response.in_progress", response=response)
            + self._event("response.output_item.added", output_index=0, item=item)
            + self._event("response.content_part.added", part=self._part(""), **self._place)
        )

    def delta(self, text: str) -> bytes:
        return self._event("response.output_text.delta", delta=text, logprobs=[], **self._place)

    def end(self, text: str, words: int) -> bytes:
        item = self._item("completed", [self._part(text)])
        return (
            self._event("response.output_text.done", text=text, logprobs=[], **self._place)
            + self._event("response.content_part.done", part=self._part(text), **self._place)
            + self._event("response.output_item.done", output_index=0, item=item)
            + self._event("response.completed", response=self._response("completed", [item], words))
            + self._tail
        )

    def whole(self, text: str, words: int) -> bytes:
        return _body(self._response("completed", [self._item("completed", [self._part(text)])], words))

    def _event(self, kind: str, **members: object) -> bytes:
        return self._envelope(kind, _json({"type": kind, "sequence_number": next(self._numbers), **members}))

    def _part(self, text: str) -> dict[str, object]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _item(self, status: str, content: list[object]) -> dict[str, object]:
        return {"type": "message", "id": self._item_id, "role": "assistant", "status": status, "content": content}

    def _response(self, status: str, output: list[object], words: int | None = None) -> dict[str, object]:
        usage = None
        if words is not None:
            usage = {
                "input_tokens": 1,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": words,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": words + 1,
            }
        fixed: dict[str, object] = {
            "object": "response",
            "created_at": 0,
            "model": MODEL,
            "error": None,
            "incomplete_details": None,
        }
        tools: list[object] = []
        choice = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": tools, "temperature": 1.0, "top_p": 1.0}
        return {"id": self._id, **fixed, **choice, "metadata": {}, "status": status, "output": output, "usage": usage}


def _sse(kind: str, data: bytes) -> bytes:
    return _chunk(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))


def _frame(_: str, data: bytes) -> bytes:
    return Frame(Opcode.TEXT, data).serialize(mask=False)


def _responses_over_http() -> AnswerForm:
    return _ResponsesForm(_STREAM_HEAD, _sse, b"0\r\n\r\n")


def _responses_over_socket() -> AnswerForm:
    return _ResponsesForm(b"", _frame, b"")


_FORMS: dict[str, Callable[[], AnswerForm]] = {
    "chat": _ChatForm,
    "http": _responses_over_http,
    "socket": _responses_over_socket,
}
_PREPARED_NUMBER = re.compile(rb"_scripted_\d{8}")


@lru_cache(maxsize=64)
def _prepared(kind: str, words: int) -> tuple[bytes, ...]:
    """The writes of an answer word by word, made one time; its ids have a fixed size, so that they can be replaced."""
    form = _FORMS[kind]()
    begun = form.begin()
    deltas = [form.delta(_PLAIN_WORD) for _ in range(words)]
    return begun, *deltas, form.end(_PLAIN_WORD * words, words)


def answer_at_once(kind: str, script: Script) -> list[bytes]:
    """The writes of a whole streamed answer, of a new id."""
    writes = _prepared(kind, script.words)
    number = b"_scripted_%08d" % next(_response_numbers)
    return [_PREPARED_NUMBER.sub(number, each) for each in (writes if script.is_split else (b"".join(writes),))]


class _PacedAnswer:
    """Writes an answer word by word at fixed times, whatever the writes take."""

    def __init__(self, transport: asyncio.Transport, kind: str, script: Script, on_end: Callable[[], None]) -> None:
        assert script.per_s is not None
        self._transport = transport
        self._form = _FORMS[kind]()
        self._words = script.words
        self._interval_s = 1 / script.per_s
        self._on_end = on_end
        self._said: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        transport.write(self._form.begin())
        self._timer = self._loop.call_soon(self._say)

    def stop(self) -> None:
        self._timer.cancel()

    def _say(self) -> None:
        word = stamp()
        self._said.append(word)
        self._transport.write(self._form.delta(word))
        if len(self._said) < self._words:
            self._due += self._interval_s
            self._timer = self._loop.call_at(self._due, self._say)
        else:
            self._transport.write(self._form.end("".join(self._said), self._words))
            self._on_end()


class _Connection(asyncio.Protocol):
    """A client: requests one after the other, or a socket. A socket's turns may overlap; they are answered in order of writes."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._socket: ServerProtocol | None = None
        self._path = b""
        self._body: list[bytes] = []
        self._answers: set[_PacedAnswer] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._answers:
            answer.stop()

    def data_received(self, data: bytes) -> None:
        if self._socket is None and b"upgrade: websocket" in data[:8192].lower():
            self._socket = ServerProtocol(max_size=None)
        if self._socket is not None:
            self._receive_frames(self._socket, data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, body = self._path.partition(b"?")[0], b"".join(self._body)
        self._path, self._body = b"", []
        if path.endswith(b"/chat/completions"):
            self._answer("chat", body)
        elif path.endswith(b"/responses"):
            self._answer("http", body)
        elif path.endswith(b"/models"):
            self._transport.write(_body({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0}]}))
        else:
            self._transport.write(_body({"status": "ok"}))

    def _answer(self, kind: str, body: bytes) -> None:
        script = read_script(body)
        if kind != "socket" and not any(each in body for each in _STREAMS):
            self._transport.write(_FORMS[kind]().whole(_PLAIN_WORD * script.words, script.words))
        elif script.per_s is None:
            for each in answer_at_once(kind, script):
                self._transport.write(each)
        else:
            answer = _PacedAnswer(self._transport, kind, script, lambda: self._answers.discard(answer))
            self._answers.add(answer)

    def _receive_frames(self, socket: ServerProtocol, data: bytes) -> None:
        socket.receive_data(data)
        for event in socket.events_received():
            if isinstance(event, Request):
                socket.send_response(socket.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._body.append(bytes(event.data))
                if event.fin:
                    body, self._body = b"".join(self._body), []
                    self._answer("socket", body)
        for each in socket.data_to_send():
            if each:
                self._transport.write(each)
            else:
                self._transport.close()


async def serve_upstream(host: str, port: int, on_ready: Callable[[int], None]) -> None:
    """Serves until it is cancelled; `on_ready` gets the port. Raises OSError when it cannot listen."""
    server = await asyncio.get_running_loop().create_server(_Connection, host, port, backlog=4096)
    on_ready(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()
