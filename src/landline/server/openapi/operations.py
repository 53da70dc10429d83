"""Every endpoint in one table: what it takes, what it answers, and with which errors."""

from landline.server.openapi.operation import (
    BODY_ERRORS,
    INPUT_ERRORS,
    ITEM_ERRORS,
    MODEL_ERRORS,
    PAGE,
    DescribedAnswer,
    Operation,
    OperationLink,
    part,
    query,
)

_OTHER_PATHS = ("/responses", "/codex/responses", "/v1/codex/responses")
_RESPONSE_ID = part("response_id", "The id of a stored response.")

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
            DescribedAnswer(
                status=200,
                text="The response, or its events.",
                json="Response",
                is_stream=True,
                links=(
                    OperationLink("createResponse", body={"previous_response_id": _ITS_ID}),
                    *(
                        OperationLink(operation, {"response_id": _ITS_ID})
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
        answers=(DescribedAnswer(status=101, text="The socket is open."),),
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
        answers=(DescribedAnswer(status=200, text="The next window.", json="CompactedWindow"),),
        errors=(*BODY_ERRORS, *INPUT_ERRORS, *MODEL_ERRORS),
        aliases=("/responses/compact",),
    ),
    Operation(
        method="POST",
        path="/v1/responses/input_tokens",
        id="countInputTokens",
        text="How many tokens the model would read for this create body.",
        body="CreateRequest",
        answers=(DescribedAnswer(status=200, text="The count.", json="InputTokens"),),
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
            _RESPONSE_ID,
            query("stream", "Events instead of the object.", type="boolean", default=False),
            query("starting_after", "With `stream`: events numbered higher than this.", type="integer", minimum=0),
            query("include_obfuscation", "Accepted; events are never padded.", type="boolean"),
        ),
        answers=(DescribedAnswer(status=200, text="The response, or its events.", json="Response", is_stream=True),),
        errors=("invalid_value", "not_found", "response_elsewhere", "store_unavailable"),
        aliases=("/responses/{response_id}",),
    ),
    Operation(
        method="DELETE",
        path="/v1/responses/{response_id}",
        id="deleteResponse",
        text="Forgets a response; one that runs in the background is cancelled first. Responses that continue it stay whole.",
        parameters=(_RESPONSE_ID,),
        answers=(DescribedAnswer(status=200, text="It is gone.", json="DeletedResponse"),),
        errors=("not_found", "store_unavailable"),
        aliases=("/responses/{response_id}",),
    ),
    Operation(
        method="POST",
        path="/v1/responses/{response_id}/cancel",
        id="cancelResponse",
        text="Ends a background response. Asked again, it answers the same.",
        parameters=(_RESPONSE_ID,),
        answers=(DescribedAnswer(status=200, text="The final response.", json="Response"),),
        errors=("invalid_value", "not_found", "response_elsewhere", "store_unavailable"),
        aliases=("/responses/{response_id}/cancel",),
    ),
    Operation(
        method="GET",
        path="/v1/responses/{response_id}/input_items",
        id="listInputItems",
        text="What the client sent with this response, not what came before it.",
        parameters=(_RESPONSE_ID, *PAGE),
        answers=(DescribedAnswer(status=200, text="A page of items.", json="ItemList"),),
        errors=("invalid_value", "not_found", "store_unavailable"),
        aliases=("/responses/{response_id}/input_items",),
    ),
)


_CONVERSATION_ID = part("conversation_id", "The id of a conversation.")
_CONVERSATION_ITEM_ID = part("item_id", "The id of an item in it.")
_FIRST_ITEM = {"conversation_id": "$request.path.conversation_id", "item_id": "$response.body#/first_id"}
_CONVERSATION = (DescribedAnswer(status=200, text="The conversation.", json="Conversation"),)
_NEW_CONVERSATION = (
    DescribedAnswer(
        status=200,
        text="The conversation.",
        json="Conversation",
        links=(
            OperationLink("createResponse", body={"conversation": _ITS_ID}),
            *(
                OperationLink(operation, {"conversation_id": _ITS_ID})
                for operation in (
                    "retrieveConversation",
                    "updateConversation",
                    "deleteConversation",
                    "addItems",
                    "listItems",
                )
            ),
        ),
    ),
)
_ITEM_PAGE = (
    DescribedAnswer(
        status=200,
        text="A page of items.",
        json="ItemList",
        links=(OperationLink("retrieveItem", _FIRST_ITEM), OperationLink("deleteItem", _FIRST_ITEM)),
    ),
)

CONVERSATIONS = (
    Operation(
        method="POST",
        path="/v1/conversations",
        id="createConversation",
        text="Begins a conversation, with up to 20 items.",
        body="ConversationCreate",
        is_body_optional=True,
        answers=_NEW_CONVERSATION,
        errors=(*BODY_ERRORS, *ITEM_ERRORS, "store_unavailable"),
        aliases=("/conversations",),
    ),
    Operation(
        method="GET",
        path="/v1/conversations/{conversation_id}",
        id="retrieveConversation",
        text="The conversation without its items.",
        parameters=(_CONVERSATION_ID,),
        answers=_CONVERSATION,
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}",),
    ),
    Operation(
        method="POST",
        path="/v1/conversations/{conversation_id}",
        id="updateConversation",
        text="Replaces the metadata as a whole.",
        parameters=(_CONVERSATION_ID,),
        body="ConversationUpdate",
        answers=_CONVERSATION,
        errors=(*BODY_ERRORS, "not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}",),
    ),
    Operation(
        method="DELETE",
        path="/v1/conversations/{conversation_id}",
        id="deleteConversation",
        text="Forgets the conversation and its items; responses that were made in it stay.",
        parameters=(_CONVERSATION_ID,),
        answers=(DescribedAnswer(status=200, text="It is gone.", json="DeletedConversation"),),
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}",),
    ),
    Operation(
        method="POST",
        path="/v1/conversations/{conversation_id}/items",
        id="addItems",
        text="Appends up to 20 items; refused while a response is writing to the conversation.",
        parameters=(_CONVERSATION_ID,),
        body="ConversationItems",
        answers=_ITEM_PAGE,
        errors=(*BODY_ERRORS, *ITEM_ERRORS, "conversation_locked", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items",),
    ),
    Operation(
        method="GET",
        path="/v1/conversations/{conversation_id}/items",
        id="listItems",
        text="The items, newest first unless asked otherwise.",
        parameters=(_CONVERSATION_ID, *PAGE),
        answers=_ITEM_PAGE,
        errors=("invalid_value", "not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items",),
    ),
    Operation(
        method="GET",
        path="/v1/conversations/{conversation_id}/items/{item_id}",
        id="retrieveItem",
        text="One item.",
        parameters=(_CONVERSATION_ID, _CONVERSATION_ITEM_ID),
        answers=(DescribedAnswer(status=200, text="The item.", json="StoredItem"),),
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items/{item_id}",),
    ),
    Operation(
        method="DELETE",
        path="/v1/conversations/{conversation_id}/items/{item_id}",
        id="deleteItem",
        text="Takes one item out; answered with the conversation.",
        parameters=(_CONVERSATION_ID, _CONVERSATION_ITEM_ID),
        answers=_CONVERSATION,
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items/{item_id}",),
    ),
)


OPERATIONS: tuple[Operation, ...] = (
    *RESPONSES,
    *CONVERSATIONS,
    Operation(
        method="GET",
        path="/v1/models",
        id="listModels",
        text="The models that clients may ask for.",
        answers=(DescribedAnswer(status=200, text="All models.", json="ModelList"),),
        aliases=("/models",),
    ),
    Operation(
        method="GET",
        path="/v1/models/{model_id}",
        id="readModel",
        text="One model; its name may contain slashes.",
        parameters=(part("model_id", "A model's name."),),
        answers=(DescribedAnswer(status=200, text="The model.", json="ModelInfo"),),
        errors=("model_not_found", "not_found"),
        aliases=("/models/{model_id}",),
    ),
    Operation(
        method="GET",
        path="/v1/openapi.json",
        id="readApi",
        text="This document.",
        answers=(DescribedAnswer(status=200, text="OpenAPI 3.1.", json="Document"),),
        aliases=("/openapi.json",),
    ),
    Operation(
        method="GET",
        path="/health",
        id="readHealth",
        text="Whether the process is up.",
        answers=(DescribedAnswer(status=200, text="It is.", json="Health"),),
    ),
    Operation(
        method="GET",
        path="/ready",
        id="readReadiness",
        text="Whether a turn can start now.",
        answers=(
            DescribedAnswer(status=200, text="It can.", json="Readiness"),
            DescribedAnswer(status=503, text="It cannot.", json="NotReady"),
        ),
    ),
)
