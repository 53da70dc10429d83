"""Rows of the endpoint table: responses."""

from landline.server.openapi.operation import (
    BODY_ERRORS,
    INPUT_ERRORS,
    MODEL_ERRORS,
    PAGE,
    Answer,
    Link,
    Operation,
    part,
    query,
)

_OTHER_PATHS = ("/responses", "/codex/responses", "/v1/codex/responses")
_ID = part("response_id", "The id of a stored response.")

_ITS_ID = "$response.body#/id"

RESPONSES = (
    Operation(
        method="POST",
        path="/v1/responses",
        id="createResponse",
        text="Asks the model. With `stream` the answer is an event stream that ends in `data: [DONE]`, unless the request "
        "is refused before a response is created.",
        body="CreateRequest",
        answers=(
            Answer(
                status=200,
                text="The response, or its events.",
                json="Response",
                is_stream=True,
                links=(
                    Link("createResponse", body={"previous_response_id": _ITS_ID}),
                    *(
                        Link(operation, {"response_id": _ITS_ID})
                        for operation in ("retrieveResponse", "deleteResponse", "cancelResponse", "listInputItems")
                    ),
                ),
            ),
        ),
        errors=(*BODY_ERRORS, *INPUT_ERRORS, *MODEL_ERRORS),
        aliases=_OTHER_PATHS,
    ),
    Operation(
        method="GET",
        path="/v1/responses",
        id="openSocket",
        text="WebSocket mode, by an upgrade; `x-websocket` says what its frames are.",
        answers=(Answer(status=101, text="The socket is open."),),
        errors=("websocket_upgrade_required",),
        aliases=_OTHER_PATHS,
    ),
    Operation(
        method="POST",
        path="/v1/responses/compact",
        id="compactResponse",
        text="The conversation as a shorter window to go on with: recent user messages and one compaction item, to be sent as "
        "they are. Fields that concern an answer are ignored; a `conversation` is refused.",
        body="CreateRequest",
        answers=(Answer(status=200, text="The next window.", json="CompactedWindow"),),
        errors=(*BODY_ERRORS, *INPUT_ERRORS, *MODEL_ERRORS),
        aliases=("/responses/compact",),
    ),
    Operation(
        method="POST",
        path="/v1/responses/input_tokens",
        id="countInputTokens",
        text="How many tokens the model would read for this create body.",
        body="CreateRequest",
        answers=(Answer(status=200, text="The count.", json="InputTokens"),),
        errors=(*BODY_ERRORS, *INPUT_ERRORS, *MODEL_ERRORS),
        aliases=("/responses/input_tokens",),
    ),
    Operation(
        method="GET",
        path="/v1/responses/{response_id}",
        id="retrieveResponse",
        text="A stored response as it stands. With `stream` the events of a response that was created with `background` "
        "and `stream`: what there was, then live.",
        parameters=(
            _ID,
            query("stream", "Events instead of the object.", type="boolean", default=False),
            query("starting_after", "With `stream`: events numbered higher than this.", type="integer", minimum=0),
            query("include_obfuscation", "Accepted; events are never padded.", type="boolean"),
        ),
        answers=(Answer(status=200, text="The response, or its events.", json="Response", is_stream=True),),
        errors=("invalid_value", "not_found", "response_elsewhere", "store_unavailable"),
        aliases=("/responses/{response_id}",),
    ),
    Operation(
        method="DELETE",
        path="/v1/responses/{response_id}",
        id="deleteResponse",
        text="Forgets a response; one that runs in the background is cancelled first. Responses that continue it stay whole.",
        parameters=(_ID,),
        answers=(Answer(status=200, text="It is gone.", json="DeletedResponse"),),
        errors=("not_found", "store_unavailable"),
        aliases=("/responses/{response_id}",),
    ),
    Operation(
        method="POST",
        path="/v1/responses/{response_id}/cancel",
        id="cancelResponse",
        text="Ends a background response. Asked again, it answers the same.",
        parameters=(_ID,),
        answers=(Answer(status=200, text="The final response.", json="Response"),),
        errors=("invalid_value", "not_found", "response_elsewhere", "store_unavailable"),
        aliases=("/responses/{response_id}/cancel",),
    ),
    Operation(
        method="GET",
        path="/v1/responses/{response_id}/input_items",
        id="listInputItems",
        text="What the client sent with this response, not what came before it.",
        parameters=(_ID, *PAGE),
        answers=(Answer(status=200, text="A page of items.", json="ItemList"),),
        errors=("invalid_value", "not_found", "store_unavailable"),
        aliases=("/responses/{response_id}/input_items",),
    ),
)
