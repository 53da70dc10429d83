"""The state that the monitor shows: the page at `/monitor`, its events and `landline top`."""
