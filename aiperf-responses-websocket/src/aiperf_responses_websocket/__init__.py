"""An AIPerf transport that speaks the Responses API over WebSockets; AIPerf finds it by `plugins.yaml` beside this file."""
