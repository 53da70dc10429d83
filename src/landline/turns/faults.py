"""What becomes of a turn in which this server's own code fails: one entry in the log, and an ending that its client knows."""

import msgspec
import structlog

from landline.session.turn import Turn, TurnEnded, TurnRefused
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ResponseFailed
from landline.wire.responses import ResponseError, new_response

_log = structlog.stdlib.get_logger(__name__)


def server_fault(request_id: str) -> ApiError:
    """What a client is told of a fault of ours: nothing but where its reason stands."""
    return api_error("server_error", f"The server failed; its log says why at request {request_id!r}.")


def note_fault(turn: Turn) -> ApiError:
    """Logs the exception that is being handled, with its traceback; the error that the turn ends in."""
    request_id = turn.meter.request_id or turn.response_id
    _log.exception("turn_broke", request_id=request_id, response_id=turn.response_id)
    turn.meter.outcome, turn.meter.error_code = "failed", "server_error"
    return server_fault(request_id)


def broken_end(turn: Turn, error: ApiError, *, next_number: int) -> TurnEnded | TurnRefused:
    """How the turn ends of which events up to `next_number` were told. It needs nothing of what may have failed: no output,
    no composer."""
    if not next_number:
        return TurnRefused(error)
    response = new_response(
        turn.request,
        id=turn.response_id,
        created_at=int(turn.created_at),
        model=turn.request.model or "",
        conversation_id=turn.conversation_id,
    )
    failed_with = ResponseError(error.code, error.message)
    response = msgspec.structs.replace(response, status="failed", error=failed_with)
    failed = ResponseFailed(sequence_number=next_number, stream_id=turn.stream_id, response=response)
    return TurnEnded([failed], response, None, error=error)
