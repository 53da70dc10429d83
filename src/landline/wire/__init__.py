"""The published API as types and bytes; changes only when the Responses API or Open Responses changes. Pure: no I/O."""
