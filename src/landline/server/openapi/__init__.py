"""Describes the API to programs: an OpenAPI document made from the wire types and one table of operations."""

from landline.server.openapi.document import encoded_document, make_document
from landline.server.openapi.operation import Operation
from landline.server.openapi.operations import OPERATIONS

__all__ = ["OPERATIONS", "Operation", "encoded_document", "make_document"]
