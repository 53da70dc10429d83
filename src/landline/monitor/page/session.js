// One session: its turns as columns of bytes with and without Landline, the time of each, and its bytes by part.

import { BytesView } from "./bytes.js";
import { hasFailed, TurnColumns } from "./columns.js";
import { byId, element, KeyedList, setAttribute, setData, setText, shape } from "./dom.js";
import * as format from "./format.js";
import { STATES } from "./sessions.js";

const TURNS_KEPT = 200;
const TURNS_LISTED = 40;
const LANES_NAMED = 20;

export class SessionView {
  /** `onLeave` goes back to the list. */
  constructor(onLeave) {
    this.id = null;
    this.turns = [];
    this.node = byId("session");
    const back = element("a", { href: "#", class: "back" }, "← all sessions");
    back.addEventListener("click", (event) => {
      event.preventDefault();
      onLeave();
    });
    this.title = element("h2", { id: "session-title", tabindex: "-1" });
    this.facts = element("p", { class: "facts" });
    this.saved = element("data");
    this.uploaded = element("data");
    this.would = element("data");
    this.columns = new TurnColumns();
    this.said = element("div");
    this.lanes = element("p", { class: "facts lanes" });
    this.waiting = element("p", { class: "empty" }, "Loading this session …");
    const bytes = element("div", { id: "session-bytes" });
    this.body = element("div", { hidden: "" },
      element("p", { class: "sentence" }, "Uploaded ", this.uploaded, " instead of ", this.would, ": ", this.saved, "."),
      element("h3", {}, "Each turn: uploaded, and without Landline"), this.columns.svg,
      element("p", { class: "legend" }, key("would", "without Landline"), key("sent", "uploaded"), key("failed", "failed"), this.columns.words),
      element("h3", {}, "Where do the bytes of this session go"), bytes, this.said, this.lanes, this.makeTurns());
    this.node.replaceChildren(back, this.title, this.facts, this.waiting, this.body);
    this.bytes = new BytesView(bytes);
  }

  makeTurns() {
    const list = element("div", { role: "rowgroup" });
    this.more = element("button", { type: "button", hidden: "" });
    this.more.addEventListener("click", () => {
      this.isLong = true;
      this.show(this.detail, { isWhole: false, isNew: false });
    });
    this.list = new KeyedList(list, (turn) => turn.number, () => makeTurn(() => this.longest));
    const titles = ["turn", "uploaded", "without Landline", "tokens in", "cached", "time", "target"];
    this.table = element("div", { role: "table", "aria-label": "Turns, the newest first" },
      element("div", { role: "rowgroup" }, element("div", { class: "turn titles", role: "row" },
        ...titles.map((title) => element("span", { role: "columnheader" }, title)))), list);
    return element("div", { class: "turns" },
      element("h3", {}, "Each turn's time"),
      element("p", { class: "legend" }, key("queued", "queued"), key("first", "until the first token"), key("stream", "streaming")),
      this.table, this.more);
  }

  /** Another session is to be looked at; null for none. */
  open(id) {
    this.id = id;
    this.turns = [];
    this.isLong = false;
    this.isFresh = id !== null;
    this.node.hidden = id === null;
    this.body.hidden = true;
    this.waiting.hidden = false;
    setText(this.waiting, "Loading this session …");
    setText(this.title, id ?? "");
    setText(this.facts, " ");
    if (id !== null) this.title.focus({ preventScroll: true });
  }

  /** A session whole, or with only the turns that are new. */
  show(detail, { isWhole, isNew = true }) {
    if (detail === null) {
      this.waiting.hidden = false;
      this.body.hidden = true;
      setText(this.facts, " ");
      setText(this.waiting, "This session is not known any more, or never was.");
      return;
    }
    this.waiting.hidden = true;
    if (this.isFresh) requestAnimationFrame(() => this.bringIntoView());
    this.isFresh = false;
    this.body.hidden = false;
    this.detail = detail;
    this.turns = (isWhole ? [] : this.turns).concat(isNew ? detail.turns : []).slice(-TURNS_KEPT);
    const listed = this.isLong ? this.turns : this.turns.slice(-TURNS_LISTED);
    const longest = Math.max(...listed.map((turn) => turn.total_s), 0.001);
    const isRescaled = longest !== this.longest;
    this.longest = longest;
    this.showFacts(detail);
    this.list.show([...listed].reverse(), { again: isRescaled });
    this.more.hidden = listed.length === this.turns.length;
    setText(this.more, `Show all ${this.turns.length} turns`);
    this.showSaid(detail.newest_items);
    this.bytes.show({ sent: detail.sent, unsaved: detail.unsaved, wire: detail.row.uploaded_bytes });
    this.columns.show(this.turns);
  }

  /** Where everything is one column, the totals would hide it. */
  bringIntoView() {
    if (this.node.getBoundingClientRect().top > innerHeight / 2) this.node.scrollIntoView({ block: "start" });
  }

  showFacts({ row, lanes }) {
    const compressed = row.compression ? `, compression: ${row.compression}` : "";
    const overhead = row.overhead_in_bytes ? `${format.bytes(row.overhead_in_bytes)} outside of turns` : "";
    const { priced_turns: priced, paid_usd: paid, cache_saved_usd: cacheSaved } = row.cost;
    const time = row.timed_turns ? `${format.seconds(row.saved_s)} saved in uploads` : "";
    const money = priced ? `paid ${format.dollars(paid)}, ${format.cacheSaving(cacheSaved)}` : "";
    const facts = [`${row.transport}${compressed}`, STATES[row.state], format.counted(row.turns, "turn"), `since ${format.clock(row.opened_at)}`, time, money, overhead];
    setText(this.facts, facts.filter(Boolean).join(" · "));
    setData(this.uploaded, format.bytes(row.uploaded_bytes), row.uploaded_bytes);
    setData(this.would, format.bytes(row.stateless_bytes), row.stateless_bytes);
    setData(this.saved, format.saving(row.saved_bytes, row.stateless_bytes), row.saved_bytes);
    const largest = [...lanes].sort((one, other) => other.stateless_bytes - one.stateless_bytes).slice(0, LANES_NAMED);
    const named = largest.map((lane) => `${lane.name ? format.name(lane.name) : "default"}: ${format.counted(lane.turns, "turn")}, ${format.bytes(lane.uploaded_bytes)}`);
    if (lanes.length > LANES_NAMED) named.push(`and ${format.exact(lanes.length - LANES_NAMED)} more`);
    setAttribute(this.table, "data-lanes", lanes.length > 1 ? "" : null);
    setText(this.lanes, lanes.length > 1 ? `Lanes — ${named.join("; ")}` : "");
  }

  /** How the newest items begin; the server sends none unless it may. */
  showSaid(items) {
    const lines = items.map(({ kind, text }) => element("p", {}, element("span", { class: "label" }, format.name(kind)), element("bdi", {}, text)));
    const said = JSON.stringify(items);
    if (this.shownSaid === said) return;
    this.shownSaid = said;
    this.said.replaceChildren(...(lines.length ? [element("h3", {}, "The newest items begin"), element("div", { class: "said" }, ...lines)] : []));
  }

}

function key(name, text) {
  return element("span", {}, element("span", { class: `swatch ${name}` }), text);
}

/** `longest()` is the time that fills the chart's width, in seconds. */
function makeTurn(longest) {
  const cells = Object.fromEntries(["number", "uploaded", "would", "tokens", "cached", "time", "target"].map((name) => [name, element("span", { class: name, role: "cell" })]));
  const parts = ["queued", "first", "stream"].map((name) => shape("rect", { class: name, y: 2, height: 10, rx: 1 }));
  const chart = shape("svg", { viewBox: "0 0 300 14", preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts);
  const words = element("span", { "aria-hidden": "true" });
  const spoken = element("span", { class: "unseen" });
  const node = element("div", { class: "turn", role: "row" }, ...Object.values(cells));
  cells.time.append(chart, words, spoken);
  return { node, update: (turn) => updateTurn(node, cells, parts, { words, spoken }, turn, longest()) };
}

function updateTurn(node, cells, parts, { words, spoken }, turn, longest) {
  setAttribute(node, "data-failed", hasFailed(turn) ? "" : null);
  setText(cells.number, String(turn.number));
  setAttribute(cells.number, "title", `${turn.response_id}, ${format.clock(turn.created_at)}`);
  setText(cells.uploaded, format.bytes(turn.uploaded_bytes));
  setText(cells.would, format.bytes(turn.stateless_bytes));
  setText(cells.tokens, format.count(turn.tokens.input));
  const paid = turn.cost.priced_turns ? `paid ${format.dollars(turn.cost.paid_usd)}` : null;
  setAttribute(cells.tokens, "title", paid);
  setAttribute(cells.uploaded, "title", turn.saved_s === null ? null : `${format.seconds(turn.saved_s)} saved`);
  setText(cells.cached, format.percent(turn.tokens.cached, turn.tokens.input));
  const failure = hasFailed(turn) ? `${turn.outcome}${turn.error_code ? `: ${turn.error_code}` : ""}` : "";
  const lane = turn.lane ? `lane ${format.name(turn.lane)}` : "";
  const ending = [failure || format.name(turn.target), lane, failure ? "" : notes(turn)].filter(Boolean).join(", ");
  setText(cells.target, ending);
  setAttribute(cells.target, "title", `${ending}\n${format.name(turn.model)} at ${turn.target || "no target"}: ${turn.reason || "not routed"}`);
  const queued = turn.queued_s ?? (turn.first_event_s === null ? turn.total_s : 0);
  const first = turn.first_event_s ?? turn.total_s;
  const ends = [queued, first, turn.total_s].map((moment) => (300 * Math.max(0, moment)) / longest);
  let x = 0;
  parts.forEach((part, place) => {
    setAttribute(part, "x", x.toFixed(2));
    setAttribute(part, "width", Math.max(0, ends[place] - x).toFixed(2));
    x = Math.max(x, ends[place]);
  });
  setText(words, format.seconds(turn.total_s));
  const times = `queued ${format.seconds(turn.queued_s)}, first token after ${format.seconds(turn.first_event_s)}, all ${format.seconds(turn.total_s)}`;
  setAttribute(words, "title", times);
  setText(spoken, times);
}

/** What was special about a turn, in few words. */
function notes(turn) {
  return [
    turn.is_warm_up && "warm-up",
    turn.compactions && "compacted",
    turn.resends && "resent",
    turn.tries > 1 && `${turn.tries} tries`,
    turn.outcome !== "completed" && turn.outcome,
  ].filter(Boolean).join(", ");
}
