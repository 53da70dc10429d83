// The list of sessions: one page of it at a time, sorted and searched by the server.

import { byId, element, KeyedList, setAttribute, setData, setShare, setText } from "./dom.js";
import * as format from "./format.js";
import { showBeginning } from "./beginning.js";

export const PAGE = 25;
const FIND_AFTER_MS = 250;
export const STATES = { running: "a turn is running", open: "open", idle: "idle", ended: "closed" };

export class SessionsView {
  /** `onView` is called when other sessions are wanted. */
  constructor(onView) {
    this.onView = onView;
    this.offset = 0;
    this.matching = 0;
    this.isLeafing = false;
    this.rows = new Map();
    this.list = new KeyedList(byId("list"), (row) => row.id, makeRow);
    let typing;
    byId("find").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.turnTo(0), FIND_AFTER_MS);
    });
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
    byId("live").addEventListener("change", () => this.turnTo(0));
    byId("sort").addEventListener("change", () => this.turnTo(0));
    byId("previous").addEventListener("click", () => this.leaf(-PAGE));
    byId("next").addEventListener("click", () => this.leaf(PAGE));
  }

  /** What the server is asked for. */
  get view() {
    return {
      sessions: PAGE,
      offset: this.offset,
      sort: byId("sort").value,
      show: byId("live").checked ? "live" : "all",
      find: byId("find").value.trim(),
    };
  }

  turnTo(offset) {
    this.offset = Math.max(0, offset);
    this.onView();
  }

  /** Goes to another page, and says which one when it is there. */
  leaf(step) {
    this.isLeafing = true;
    this.turnTo(this.offset + step);
  }

  /** Goes back to the row of a session; false if the list does not show it. */
  focus(id) {
    const entry = this.list.entries.get(id);
    entry?.node.querySelector("a").focus();
    return entry !== undefined;
  }

  /** A page whole, or the rows of it that changed. */
  show(page, { isWhole }) {
    if (isWhole) this.rows.clear();
    for (const row of page.rows) this.rows.set(row.id, row);
    const shown = page.ids.map((id) => this.rows.get(id)).filter(Boolean);
    this.rows = new Map(shown.map((row) => [row.id, row]));
    this.matching = page.matching;
    this.list.show(shown);
    this.showCounts(page, shown.length);
    if (page.matching > 0 && page.offset >= page.matching) this.turnTo(Math.floor((page.matching - 1) / PAGE) * PAGE);
  }

  showCounts(page, shown) {
    const isFiltered = this.view.find !== "" || this.view.show === "live";
    const isEmpty = page.known === 0;
    byId("empty").hidden = !isEmpty;
    byId("rows").hidden = isEmpty || page.matching === 0;
    byId("no-match").hidden = isEmpty || page.matching > 0;
    byId("filter").hidden = isEmpty;
    byId("pager").hidden = page.matching <= PAGE;
    if (isEmpty) showBeginning(byId("empty"));
    setText(byId("sessions-count"), isFiltered ? `${format.exact(page.matching)} of ${format.exact(page.known)}` : format.exact(page.known));
    const range = `${format.exact(page.offset + 1)}–${format.exact(page.offset + shown)} of ${format.exact(page.matching)}`;
    setText(byId("range"), range);
    if (this.isLeafing) setText(byId("spoken"), `Sessions ${range}`);
    this.isLeafing = false;
    const [previous, next] = [byId("previous"), byId("next")];
    const [isFirst, isLast] = [page.offset === 0, page.offset + PAGE >= page.matching];
    const focused = document.activeElement;
    setAttribute(previous, "disabled", isFirst ? "" : null);
    setAttribute(next, "disabled", isLast ? "" : null);
    if (isFirst && focused === previous) next.focus();
    if (isLast && focused === next) previous.focus();
  }
}

function makeRow(first) {
  const link = element("a", { href: `#session=${encodeURIComponent(first.id)}` }, shorten(first.id));
  const dot = element("span", { class: "dot", "aria-hidden": "true" });
  const state = element("span", { class: "unseen" });
  const kind = element("span", { class: "kind" });
  const cells = {
    model: element("span", { role: "cell", class: "model" }),
    turns: element("data"),
    uploaded: element("data"),
    would: element("data"),
    saved: element("data"),
    cached: element("data"),
  };
  const failed = element("span", { class: "failures" });
  const bar = element("span", { class: "bar" });
  const node = element(
    "div",
    { class: "row", role: "row" },
    element("span", { role: "cell", class: "name" }, dot, link, kind, state),
    cells.model,
    numberCell("turns", cells.turns, failed),
    numberCell("uploaded", cells.uploaded),
    numberCell("would", cells.would),
    numberCell("saved", cells.saved, element("span", { class: "mini", "aria-hidden": "true" }, bar)),
    numberCell("cached", cells.cached),
  );
  const update = (row) => {
    setAttribute(node, "data-state", row.state);
    setText(state, STATES[row.state]);
    setAttribute(link, "title", describe(row));
    setText(kind, row.lanes > 1 ? `${row.lanes} lanes` : row.transport);
    setText(cells.model, row.model ? format.name(row.model) : "–");
    setData(cells.turns, format.count(row.turns), row.turns);
    setAttribute(cells.turns, "class", row.failed_turns ? "bad" : null);
    setText(failed, row.failed_turns ? `${format.count(row.failed_turns)} failed` : "");
    setData(cells.uploaded, format.bytes(row.uploaded_bytes), row.uploaded_bytes);
    setData(cells.would, format.bytes(row.stateless_bytes), row.stateless_bytes);
    setData(cells.saved, format.saved(row.saved_bytes, row.stateless_bytes), row.saved_bytes);
    setShare(bar, row.saved_bytes / (row.stateless_bytes || 1));
    setData(cells.cached, format.percent(row.tokens.cached, row.tokens.input), row.tokens.cached);
  };
  return { node, update };
}

function numberCell(name, ...children) {
  return element("span", { role: "cell", class: `number ${name}` }, ...children);
}

/** What the row has no room for: for who points at it. */
function describe(row) {
  const model = row.target ? `${row.model} at ${row.target}` : row.model;
  const failed = row.failed_turns ? `${format.counted(row.failed_turns, "turn")} failed` : "";
  const compression = row.compression ? `compression: ${row.compression}` : "";
  return [row.id, `${row.transport}, ${STATES[row.state]}`, format.name(model), compression, failed].filter(Boolean).join("\n");
}

/** The end of a long id is what differs. */
export function shorten(id) {
  return id.length <= 18 ? id : `${id.slice(0, 5)}…${id.slice(-8)}`;
}
