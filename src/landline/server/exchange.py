"""One HTTP answer that takes its time: it is given up when its client disconnects or the drain's grace is over."""

import asyncio
from collections.abc import Callable, Coroutine

from starlette.types import Message, Receive, Send

from landline.server.account import Account
from landline.server.drain import Drain


async def answer_while_wanted(
    answer: Callable[[Send], Coroutine[None, None, None]],
    receive: Receive,
    send: Send,
    drain: Drain,
    account: Account | None = None,
) -> None:
    """Returns when the answer is complete or was given up; raises what it raised. The request's body is read by now.

    What is sent is counted on the account, which is released at the end.
    """
    is_answered = False

    async def send_watched(message: Message) -> None:
        nonlocal is_answered
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

    answering = asyncio.create_task(answer(send_watched))
    watching = asyncio.create_task(give_up_when_gone())
    drain.expired.subscribe(answering.cancel)
    try:
        await asyncio.wait({answering})
    finally:
        drain.expired.unsubscribe(answering.cancel)
        watching.cancel()
        answering.cancel()
        await asyncio.wait({answering, watching})
        if account is not None:
            account.end_answer()
    if not answering.cancelled():
        answering.result()
