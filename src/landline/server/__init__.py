"""The ASGI edge: HTTP and sockets in and out; changes with transports towards clients."""
