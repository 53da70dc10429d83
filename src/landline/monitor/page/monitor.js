// Puts the page together: what the server tells goes to the parts that show it.

import { BytesView } from "./bytes.js";
import { byId, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { Line } from "./line.js";
import { Pulse } from "./pulse.js";
import { SessionView } from "./session.js";
import { SessionsView } from "./sessions.js";
import { TargetsView } from "./targets.js";
import { showTotals } from "./totals.js";

const THEMES = { auto: "as the system", light: "light", dark: "dark" };
const LINK_WORDS = { live: "live", connecting: "connecting", gone: "server gone", stopping: "server stopping", paused: "paused" };

const bytes = new BytesView(byId("bytes"));
const pulse = new Pulse();
const targets = new TargetsView();
const sessions = new SessionsView(connect);
const session = new SessionView(showList);
const line = new Line(receive, showLink);
let totals = null;
let known = { known: 0 };
let startedAt = null;
let toldAt = null;
let skew = 0;
/** Seconds that this clock is ahead of the server's. */

function receive(name, data) {
  const begun = performance.now();
  const told = JSON.parse(data);
  toldAt = told.at;
  skew = Date.now() / 1000 - told.at;
  if (name === "snapshot") begin(told);
  const isWhole = name === "snapshot";
  if (told.sessions) known = told.sessions;
  if (told.sessions && session.id === null) sessions.show(told.sessions, { isWhole });
  if (told.totals) {
    totals = told.totals;
    bytes.show({ sent: totals.sent, unsaved: totals.unsaved, wire: totals.uploaded_bytes });
  }
  if (totals) showTotals(totals, known);
  if (told.targets) targets.showTargets(told.targets);
  if (told.choices) targets.showChoices(told.choices);
  if (told.models) targets.showModels(told.models);
  if (session.id !== null && (isWhole || told.session)) session.show(told.session ?? null, { isWhole });
  measure(begun);
}

/** How long a refresh took, for who wants to know: until the document was changed, and until that was painted. */
function measure(begun) {
  performance.clearMeasures();
  performance.measure("landline.refresh", { start: begun, end: performance.now() });
  requestAnimationFrame(() => setTimeout(() => performance.measure("landline.painted", { start: begun, end: performance.now() })));
}

function begin(snapshot) {
  if (startedAt !== snapshot.started_at) pulse.forget();
  startedAt = snapshot.started_at;
  setAttribute(byId("page"), "data-begun", "");
  setText(byId("version"), `v${snapshot.version}`);
  setText(byId("uploaded-label"), snapshot.hop === "upstreams" ? "uploaded to upstreams" : "uploaded");
  tick();
}

function tick() {
  if (startedAt !== null && isLive()) setText(byId("uptime"), `up ${format.span(Date.now() / 1000 - skew - startedAt)}`);
}

function isLive() {
  return byId("link").dataset.state === "live";
}

function showLink(state) {
  setAttribute(byId("link"), "data-state", state);
  setText(byId("link-text"), LINK_WORDS[state]);
  const isGone = state === "gone" || state === "stopping";
  byId("gone").hidden = !isGone;
  if (isGone) {
    const since = toldAt === null ? "" : ` What is shown is from ${format.clock(toldAt)}.`;
    setText(byId("gone"), `${state === "stopping" ? "The server is stopping." : "The server cannot be reached."}${since} Trying again …`);
  }
}

function connect() {
  if (document.hidden) return;
  line.open(session.id === null ? sessions.view : { sessions: 0, session: session.id });
}

/** The session that the address names is looked at; without one the list is. */
function route() {
  const id = new URLSearchParams(location.hash.slice(1)).get("session");
  const before = session.id;
  session.open(id);
  byId("sessions").hidden = id !== null;
  setText(byId("skip"), id === null ? "Skip to the sessions" : "Skip to the session");
  if (before !== null && id === null && !sessions.focus(before)) byId("content").focus();
  connect();
}

function showList() {
  history.pushState(null, "", location.pathname);
  route();
}

function chooseTheme() {
  const names = Object.keys(THEMES);
  const now = document.documentElement.dataset.theme ?? "auto";
  const next = names[(names.indexOf(now) + 1) % names.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  showTheme();
  try {
    localStorage.setItem("landline.theme", next);
  } catch {
    // The browser keeps nothing: it is chosen for this page only.
  }
}

function showTheme() {
  const name = document.documentElement.dataset.theme ?? "auto";
  setText(byId("theme-name"), name);
  setAttribute(byId("theme"), "aria-label", `Theme: ${THEMES[name]}`);
}

byId("theme").addEventListener("click", chooseTheme);
byId("home").addEventListener("click", (event) => {
  event.preventDefault();
  showList();
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("content").focus();
});
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    line.close();
    showLink("paused");
  } else {
    connect();
  }
});
setInterval(() => {
  pulse.tick(isLive() ? totals : null);
  tick();
}, 1000);
showTheme();
route();
