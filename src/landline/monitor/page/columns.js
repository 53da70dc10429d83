// A session's turns as columns: how much each sent, in front of what it would have sent without Landline. However many turns there are,
// it is three shapes; the turn under the pointer is said in words below.

import { element, setAttribute, setText, shape } from "./dom.js";
import * as format from "./format.js";

const HEIGHT = 180;
const TOP = 18;
const BOTTOM = 20;
const WIDEST = 44;
const LEAST = 1.5;
/** Of a column's height, so that a turn that sent next to nothing is still seen. */

export class TurnColumns {
  constructor() {
    this.turns = [];
    this.shapes = Object.fromEntries(["would", "sent", "failed"].map((name) => [name, shape("path", { class: name })]));
    this.frame = shape("path", { class: "frame", "shape-rendering": "crispEdges" });
    this.top = shape("text", { y: TOP - 5, "text-anchor": "end" });
    this.first = shape("text", { x: 0, y: HEIGHT - 5 });
    this.last = shape("text", { y: HEIGHT - 5, "text-anchor": "end" });
    this.svg = shape("svg", { class: "columns-chart", role: "img" }, this.frame, ...Object.values(this.shapes), this.top, this.first, this.last);
    this.words = element("p", { class: "hint words", "aria-hidden": "true" });
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  show(turns) {
    this.turns = turns;
    setAttribute(this.svg, "aria-label", describe(turns));
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width) return;
    const most = Math.max(...this.turns.map((turn) => Math.max(turn.stateless_bytes, turn.uploaded_bytes)), 1);
    this.step = Math.min(WIDEST, width / Math.max(this.turns.length, 1));
    const paths = { would: [], sent: [], failed: [] };
    this.turns.forEach((turn, place) => {
      paths.would.push(this.column(place, turn.stateless_bytes / most));
      paths[hasFailed(turn) ? "failed" : "sent"].push(this.column(place, turn.uploaded_bytes / most));
    });
    for (const [name, node] of Object.entries(this.shapes)) setAttribute(node, "d", paths[name].join(""));
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    setAttribute(this.frame, "d", `M0 ${HEIGHT - BOTTOM + 0.5}H${width}M0 ${TOP - 0.5}H${width}`);
    setAttribute(this.top, "x", width);
    setText(this.top, format.bytes(most));
    setText(this.first, this.turns.length ? String(this.turns[0].number) : "");
    setAttribute(this.last, "x", Math.max(this.step * this.turns.length, 40).toFixed(1));
    setText(this.last, this.turns.length > 1 ? String(this.turns.at(-1).number) : "");
  }

  column(place, share) {
    const height = Math.max((HEIGHT - TOP - BOTTOM) * share, LEAST);
    const width = Math.max(this.step - Math.min(6, this.step / 4), 0.5);
    return `M${(place * this.step).toFixed(1)} ${HEIGHT - BOTTOM}v${-height.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}z`;
  }

  point(x) {
    const turn = x === null ? undefined : this.turns[Math.floor(x / this.step)];
    const words = turn && `turn ${turn.number}: ${format.bytes(turn.uploaded_bytes)} instead of ${format.bytes(turn.stateless_bytes)}`;
    setText(this.words, words ?? "");
  }
}

export function hasFailed(turn) {
  return ["failed", "refused", "aborted"].includes(turn.outcome);
}

function describe(turns) {
  if (!turns.length) return "No turn yet";
  const last = turns.at(-1);
  return `${format.counted(turns.length, "turn")}; the last, ${last.number}, sent ${format.bytes(last.uploaded_bytes)}, without Landline ${format.bytes(last.stateless_bytes)}`;
}
