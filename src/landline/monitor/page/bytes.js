// Bytes by part: without Landline, as sent before compression, and on the wire.

import { element, setAttribute, setData, setText, shape } from "./dom.js";
import * as format from "./format.js";

const PARTS = [
  ["tools", "tools"],
  ["instructions", "instructions"],
  ["history", "history"],
  ["new_items", "new items"],
  ["other", "other"],
];
const BAR_HEIGHT = 18;

export class BytesView {
  constructor(parent) {
    this.bars = {
      unsaved: new StackedBar("without Landline"),
      sent: new StackedBar("sent, before compression"),
      wire: new StackedBar("on the wire"),
    };
    this.rows = new Map();
    const body = element("tbody");
    for (const [part, name] of PARTS) {
      const row = { sent: element("data"), unsaved: element("data") };
      this.rows.set(part, row);
      const title = element("th", { scope: "row" }, element("span", { class: `swatch ${part}` }), name);
      body.append(element("tr", {}, title, element("td", {}, row.sent), element("td", {}, row.unsaved)));
    }
    const titles = ["part", "sent", "without Landline"].map((name) => element("th", { scope: "col" }, name));
    parent.replaceChildren(
      ...Object.values(this.bars).map((bar) => bar.node),
      element("table", { class: "parts" }, element("thead", {}, element("tr", {}, ...titles)), body),
    );
  }

  /** Splits in bytes, and the bytes on the wire. */
  show({ sent, unsaved, wire }) {
    const most = Math.max(total(sent), total(unsaved), wire, 1);
    this.bars.unsaved.show(PARTS.map(([part]) => [part, unsaved[part]]), most);
    this.bars.sent.show(PARTS.map(([part]) => [part, sent[part]]), most);
    this.bars.wire.show([["wire", wire]], most);
    for (const [part] of PARTS) {
      const row = this.rows.get(part);
      setData(row.sent, format.bytes(sent[part]), sent[part]);
      setData(row.unsaved, format.bytes(unsaved[part]), unsaved[part]);
    }
  }
}

/** One bar of parts, as long as its share of the longest. */
class StackedBar {
  constructor(name) {
    this.name = name;
    this.amount = element("data");
    this.svg = shape("svg", { class: "stack", role: "img", preserveAspectRatio: "none", height: BAR_HEIGHT });
    this.node = element("div", { class: "measure" }, element("p", { class: "label" }, name),
      element("p", { class: "amount" }, this.amount), this.svg);
    this.rects = new Map();
  }

  show(parts, most) {
    const sum = parts.reduce((before, [, size]) => before + size, 0);
    setData(this.amount, format.bytes(sum), sum);
    setAttribute(this.svg, "viewBox", `0 0 1000 ${BAR_HEIGHT}`);
    setAttribute(this.svg, "aria-label", `${this.name}: ${format.bytes(sum)}`);
    let x = 0;
    for (const [part, size] of parts) {
      const width = (1000 * size) / most;
      const rect = this.rect(part);
      setAttribute(rect, "x", x.toFixed(2));
      setAttribute(rect, "width", width.toFixed(2));
      setText(rect.firstElementChild, `${part.replace("_", " ")}: ${format.bytes(size)}`);
      x += width;
    }
  }

  rect(part) {
    if (!this.rects.has(part)) {
      const made = shape("rect", { class: part, y: 0, height: BAR_HEIGHT }, shape("title"));
      this.rects.set(part, made);
      this.svg.append(made);
    }
    return this.rects.get(part);
  }
}

function total(split) {
  return PARTS.reduce((sum, [part]) => sum + split[part], 0);
}
