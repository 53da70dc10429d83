"""The state behind the monitor page and `landline top`, and the page itself. `server.monitor` serves both."""
