// Targets with their health, why each was chosen, and the models that were requested.

import { byId, element, KeyedList, setAttribute, setData, setShare, setText } from "./dom.js";
import * as format from "./format.js";

const MODELS_LISTED = 8;
const STATES = { closed: "healthy", waiting: "rate limited", open: "circuit open", half_open: "half-open", probing: "half-open, probing" };
const REASONS = {
  only: "the only candidate",
  sealed: "its state is needed",
  warm: "has the longest warm prefix",
  key: "served this conversation last",
  load: "was least busy",
  weight: "by its weight",
  fail_over: "another target failed",
  last_resort: "no target is healthy",
};

export class TargetsView {
  constructor() {
    this.targets = new KeyedList(byId("targets"), (row) => row.name, makeTarget);
    this.choices = new KeyedList(byId("choices"), (row) => row.reason, makeChoice);
    this.models = new KeyedList(byId("models"), (row) => row.name, makeModel);
  }

  showTargets(rows) {
    this.targets.show(rows);
    sayRest(byId("targets"), rows.length);
  }

  showChoices(rows) {
    const sums = sumByReason(rows);
    this.choices.show(sums);
    sayRest(byId("choices"), sums.length);
  }

  showModels(rows) {
    const most = rows.slice(0, MODELS_LISTED);
    this.models.show(most);
    sayRest(byId("models"), rows.length, rows.length - most.length);
  }
}

/** What stands below the rows: that there are none, or how many there are besides. */
function sayRest(parent, known, hidden = 0) {
  const rest = hidden > 0 ? `and ${format.exact(hidden)} more` : null;
  setAttribute(parent, "data-rest", known === 0 ? "nothing yet" : rest);
}

function makeTarget() {
  const state = element("span", { class: "hint" });
  const name = element("strong");
  const turns = element("data");
  const warm = element("data");
  const bar = element("span", { class: "bar" });
  const upstream = element("span", { class: "hint" });
  const failures = element("p", { class: "wide hint failures", hidden: "" });
  const node = element(
    "div",
    { class: "entry" },
    element("p", { class: "title" }, element("span", { class: "dot" }), name, state),
    element("p", { class: "value" }, turns),
    element("p", { class: "wide" }, element("span", { class: "mini", "aria-hidden": "true" }, bar), element("span", { class: "warm" }, warm, " warm")),
    element("p", { class: "wide" }, upstream),
    failures,
  );
  const update = (row) => {
    const health = healthOf(row);
    setText(name, format.name(row.name));
    setAttribute(node, "data-health", health);
    setText(state, `${STATES[health]}${row.wait_s > 0 ? `, ${format.span(row.wait_s)} more` : ""}`);
    setData(turns, format.counted(row.turns, "turn"), row.turns);
    setData(warm, format.percent(row.warm_turns, row.turns), row.warm_turns);
    setShare(bar, row.warm_turns / (row.turns || 1));
    const failed = row.failed_turns ? `, ${format.count(row.failed_turns)} failed` : "";
    setText(upstream, `${format.count(row.in_flight)} in flight, ${format.bytes(row.upstream_out_bytes)} out, ${format.bytes(row.upstream_in_bytes)} in${failed}`);
    const codes = Object.entries(row.failures).sort(([, one], [, other]) => other - one);
    setAttribute(failures, "hidden", codes.length ? null : "");
    setText(failures, `errors: ${codes.map(([code, tries]) => `${format.count(tries)} ${code}`).join(", ")}`);
  };
  return { node, update };
}

/** A breaker's state as it is seen: one that is closed may wait all the same, an open one whose time is over does not. */
function healthOf({ state, wait_s: wait }) {
  if (state === "closed" && wait > 0) return "waiting";
  return state === "open" && wait === 0 ? "half_open" : state;
}

/** One row a reason, over all targets. */
function sumByReason(rows) {
  const sums = new Map();
  for (const { reason, affinity, turns } of rows) {
    sums.set(reason, { reason, affinity, turns: turns + (sums.get(reason)?.turns ?? 0) });
  }
  return [...sums.values()].sort((one, other) => other.turns - one.turns);
}

function makeChoice() {
  const turns = element("data");
  const name = element("strong");
  const kind = element("span", { class: "tag" });
  const why = element("span", { class: "hint" });
  const node = element("div", { class: "entry" },
    element("p", { class: "title" }, name, kind), element("p", { class: "value" }, turns), element("p", { class: "wide" }, why));
  const update = (row) => {
    setText(name, row.reason.replace("_", " "));
    setText(kind, row.affinity === "none" ? "" : `${row.affinity} affinity`);
    setText(why, REASONS[row.reason] ?? "");
    setData(turns, format.count(row.turns), row.turns);
  };
  return { node, update };
}

function makeModel() {
  const name = element("strong");
  const saved = element("data");
  const hint = element("span", { class: "hint" });
  const node = element("div", { class: "entry" },
    element("p", { class: "title" }, name), element("p", { class: "value" }, saved), element("p", { class: "wide" }, hint));
  const update = (row) => {
    setText(name, row.name ? format.name(row.name) : "(none named)");
    setAttribute(name, "title", format.name(row.name));
    setData(saved, format.saving(row.saved_bytes, row.stateless_bytes), row.saved_bytes);
    const paid = row.cost.priced_turns ? `, paid ${format.dollars(row.cost.paid_usd)}` : "";
    setText(hint, `${format.counted(row.turns, "turn")}, ${format.bytes(row.uploaded_bytes)} of ${format.bytes(row.stateless_bytes)}${paid}`);
  };
  return { node, update };
}
