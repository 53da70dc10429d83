// The big numbers on top.

import { byId, setData, setShare, setText } from "./dom.js";
import * as format from "./format.js";

const SPOKEN_EVERY_MS = 15_000;
/** Who listens to the page is told the totals so often at most. */

let spokenAt = 0;

export function showTotals(totals, sessions) {
  const most = Math.max(totals.uploaded_bytes, totals.stateless_bytes);
  const { saved_bytes: saved, stateless_bytes: would } = totals;
  setData(byId("saved-share"), format.saved(saved, would), totals.saved_bytes / (totals.stateless_bytes || 1));
  setBytes("saved-bytes", totals.saved_bytes, Math.abs(totals.saved_bytes));
  setText(byId("saved-words"), saved < 0 ? "more; nothing is saved yet" : "not uploaded");
  setBytes("would", totals.stateless_bytes);
  setBytes("uploaded", totals.uploaded_bytes);
  setShare(byId("would-bar"), totals.stateless_bytes / most);
  setShare(byId("uploaded-bar"), totals.uploaded_bytes / most);
  showMore(totals, sessions);
  speak(totals);
}

function showMore(totals, sessions) {
  const { input, cached, output, reasoning } = totals.tokens;
  setCount("turns", totals.turns);
  setText(byId("turns-hint"), `${format.count(totals.running_turns)} running, ${format.count(totals.failed_turns)} failed`);
  setCount("lines", totals.open_lines);
  setText(byId("lines-hint"), `${format.counted(sessions.known, "session")} known`);
  setCount("tokens-in", input);
  setText(byId("tokens-in-hint"), input ? `${format.percent(cached, input)} from cache` : "none yet");
  setCount("tokens-out", output);
  setText(byId("tokens-out-hint"), reasoning ? `${format.count(reasoning)} of them reasoning` : "by the models");
  showTime(totals);
  showMoney(totals.cost);
  setBytes("downloaded", totals.downloaded_bytes);
  setBytes("upstream", totals.upstream_out_bytes);
  setText(byId("upstream-hint"), `${format.bytes(totals.upstream_in_bytes)} came back`);
}

function showTime({ timed_turns: timed, turns, saved_s: saved }) {
  setData(byId("time"), timed ? format.seconds(saved) : "–", saved);
  const of = timed === turns ? "in uploads" : `in uploads of ${format.counted(timed, "turn")}`;
  setText(byId("time-hint"), timed ? of : "not measured");
}

function showMoney({ priced_turns: turns, paid_usd: paid, cache_saved_usd: saved }) {
  setData(byId("paid"), turns ? format.dollars(paid) : "–", paid);
  setText(byId("paid-hint"), turns ? format.cacheSaving(saved) : "no prices");
  byId("paid-stat").title = `${format.counted(turns, "turn")} of models with a price`;
}

function speak(totals) {
  const now = performance.now();
  if (totals.turns === 0 || (spokenAt && now - spokenAt < SPOKEN_EVERY_MS)) return;
  spokenAt = now;
  const [sent, would] = [format.bytes(totals.uploaded_bytes), format.bytes(totals.stateless_bytes)];
  const saving = format.saving(totals.saved_bytes, totals.stateless_bytes);
  setText(byId("spoken"), `${saving}: uploaded ${sent} instead of ${would}, in ${format.counted(totals.turns, "turn")}.`);
}

function setBytes(id, value, shown = value) {
  const node = byId(id);
  setData(node, format.bytes(shown), value);
  node.title = `${format.exact(value)} bytes`;
}

function setCount(id, value) {
  const node = byId(id);
  setData(node, format.count(value), value);
  node.title = format.exact(value);
}
