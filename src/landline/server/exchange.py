"""One HTTP answer that takes its time: it ends early when its client disconnects or the drain's grace is over."""

import asyncio
from collections.abc import Callable, Coroutine

from starlette.types import Message, Receive, Send

from landline.server.account import Account
from landline.server.drain import Drain, shutdown_error
from landline.server.endpoint import reply_error
from landline.wire.errors import ApiError


async def answer_while_wanted(
    answer: Callable[[Send], Coroutine[None, None, None]],
    receive: Receive,
    send: Send,
    drain: Drain,
    account: Account | None = None,
    *,
    give_up: Callable[[ApiError], bool] = lambda _: False,
) -> None:
    """Returns when the answer is complete or was given up; raises what it raised. The request's body is read by now.

    `give_up` is called when the grace is over: whether the answer will now end by itself, and soon. If not, it is cancelled,
    and the client is told of the error unless something was said already. What is sent is counted on the account, which is
    released at the end.
    """
    is_started = is_answered = is_expired = False

    async def send_watched(message: Message) -> None:
        nonlocal is_started, is_answered
        is_started = True
        is_answered = message["type"] == "http.response.body" and not message.get("more_body", False)
        await send(message)
        if account is not None:
            account.add_body(message.get("body", b""))

    async def give_up_when_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not is_answered:
            # A complete answer reads as a disconnect too; the turn may then still be putting its things away.
            answering.cancel()

    def end_early() -> None:
        nonlocal is_expired
        if not give_up(shutdown_error()):
            is_expired = True
            answering.cancel()

    answering = asyncio.create_task(answer(send_watched))
    watching = asyncio.create_task(give_up_when_gone())
    drain.expired.subscribe(end_early)
    try:
        await asyncio.wait({answering})
    finally:
        drain.expired.unsubscribe(end_early)
        watching.cancel()
        answering.cancel()
        await asyncio.wait({answering, watching})
        if is_expired and not is_started:
            await reply_error({"type": "http"}, send_watched, shutdown_error())
        if account is not None:
            account.end_answer()
    if not answering.cancelled():
        answering.result()


def ends_by_itself(_error: ApiError) -> bool:
    """The `give_up` of an answer that follows a turn which is given up elsewhere."""
    return True
