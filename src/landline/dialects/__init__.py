"""How each kind of upstream speaks: Responses items in, request bytes out; bytes in, model events out. Pure."""
