// The page's own line to the server: events as they come, and again after every cut.

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 60_000;
/** The server says something every 25 s; after so long a silence it is gone, though nothing was closed. */

export class Line {
  /** `onMessage(name, data)` for each event; `onState` gets "live", "gone" or "stopping". */
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.source = null;
    this.failures = 0;
    this.parameters = "";
  }

  /** Asks for another view; the old one is shown until the new one comes. */
  open(view) {
    this.parameters = new URLSearchParams(view).toString();
    this.connect();
  }

  close() {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.close();
    const source = new EventSource(`monitor/events?${this.parameters}`);
    this.source = source;
    this.listen();
    for (const name of ["snapshot", "change"]) {
      source.addEventListener(name, (event) => {
        this.failures = 0;
        this.listen();
        this.onState("live");
        this.onMessage(name, event.data);
      });
    }
    source.addEventListener("stopping", () => this.lose("stopping"));
    source.addEventListener("error", () => this.lose("gone"));
  }

  /** Waits for the next word. */
  listen() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lose("gone"), SILENCE_MS);
  }

  /** The browser's own retry gives up on some errors, so it is done here. */
  lose(state) {
    this.close();
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.onState(state);
    this.retry = setTimeout(() => this.connect(), wait);
  }
}
