"""What a connection may do: lineages, lanes, steering and the events of a turn; changes when the protocol's rules do. Pure."""
