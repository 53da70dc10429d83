"""Every endpoint in one table: what it takes, what it answers, and with which errors."""

from landline.server.openapi.about_conversations import CONVERSATIONS
from landline.server.openapi.about_responses import RESPONSES
from landline.server.openapi.operation import Answer, Operation, part

OPERATIONS: tuple[Operation, ...] = (
    *RESPONSES,
    *CONVERSATIONS,
    Operation(
        method="GET",
        path="/v1/models",
        id="listModels",
        text="The models that clients may ask for.",
        answers=(Answer(status=200, text="All models.", json="ModelList"),),
        aliases=("/models",),
    ),
    Operation(
        method="GET",
        path="/v1/models/{model_id}",
        id="readModel",
        text="One model; its name may contain slashes.",
        parameters=(part("model_id", "A model's name."),),
        answers=(Answer(status=200, text="The model.", json="ModelInfo"),),
        errors=("model_not_found", "not_found"),
        aliases=("/models/{model_id}",),
    ),
    Operation(
        method="GET",
        path="/v1/openapi.json",
        id="readApi",
        text="This document.",
        answers=(Answer(status=200, text="OpenAPI 3.1.", json="Document"),),
        aliases=("/openapi.json",),
    ),
    Operation(
        method="GET",
        path="/health",
        id="readHealth",
        text="Whether the process is up.",
        answers=(Answer(status=200, text="It is.", json="Health"),),
    ),
    Operation(
        method="GET",
        path="/ready",
        id="readReadiness",
        text="Whether a turn can start now.",
        answers=(
            Answer(status=200, text="It can.", json="Readiness"),
            Answer(status=503, text="It cannot.", json="NotReady"),
        ),
    ),
)
