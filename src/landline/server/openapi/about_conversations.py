"""Rows of the endpoint table: conversations."""

from landline.server.openapi.operation import BODY_ERRORS, ITEM_ERRORS, PAGE, Answer, Link, Operation, part

_ID = part("conversation_id", "The id of a conversation.")
_ITEM_ID = part("item_id", "The id of an item in it.")
_ITS_ID = "$response.body#/id"
_FIRST_ITEM = {"conversation_id": "$request.path.conversation_id", "item_id": "$response.body#/first_id"}
_CONVERSATION = (Answer(status=200, text="The conversation.", json="Conversation"),)
_NEW_CONVERSATION = (
    Answer(
        status=200,
        text="The conversation.",
        json="Conversation",
        links=(
            Link("createResponse", body={"conversation": _ITS_ID}),
            *(
                Link(operation, {"conversation_id": _ITS_ID})
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
_PAGE = (
    Answer(
        status=200,
        text="A page of items.",
        json="ItemList",
        links=(Link("retrieveItem", _FIRST_ITEM), Link("deleteItem", _FIRST_ITEM)),
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
        parameters=(_ID,),
        answers=_CONVERSATION,
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}",),
    ),
    Operation(
        method="POST",
        path="/v1/conversations/{conversation_id}",
        id="updateConversation",
        text="Replaces the metadata as a whole.",
        parameters=(_ID,),
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
        parameters=(_ID,),
        answers=(Answer(status=200, text="It is gone.", json="DeletedConversation"),),
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}",),
    ),
    Operation(
        method="POST",
        path="/v1/conversations/{conversation_id}/items",
        id="addItems",
        text="Appends up to 20 items; refused while a response is writing to the conversation.",
        parameters=(_ID,),
        body="ConversationItems",
        answers=_PAGE,
        errors=(*BODY_ERRORS, *ITEM_ERRORS, "conversation_locked", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items",),
    ),
    Operation(
        method="GET",
        path="/v1/conversations/{conversation_id}/items",
        id="listItems",
        text="The items, newest first unless asked otherwise.",
        parameters=(_ID, *PAGE),
        answers=_PAGE,
        errors=("invalid_value", "not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items",),
    ),
    Operation(
        method="GET",
        path="/v1/conversations/{conversation_id}/items/{item_id}",
        id="retrieveItem",
        text="One item.",
        parameters=(_ID, _ITEM_ID),
        answers=(Answer(status=200, text="The item.", json="StoredItem"),),
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items/{item_id}",),
    ),
    Operation(
        method="DELETE",
        path="/v1/conversations/{conversation_id}/items/{item_id}",
        id="deleteItem",
        text="Takes one item out; answered with the conversation.",
        parameters=(_ID, _ITEM_ID),
        answers=_CONVERSATION,
        errors=("not_found", "store_unavailable"),
        aliases=("/conversations/{conversation_id}/items/{item_id}",),
    ),
)
