// A session's turns as columns: how much each sent, in front of how much it would have been.

import { setAttribute, setText, shape } from "./dom.js";
import * as format from "./format.js";

const HEIGHT = 180;
const TOP = 18;
const BOTTOM = 20;
const WIDEST = 26;

export function drawTurns(svg, turns) {
  const width = Math.max(svg.clientWidth, 200);
  const most = Math.max(...turns.map((turn) => Math.max(turn.would_have_been_bytes, turn.uploaded_bytes)), 1);
  const step = Math.min(WIDEST, width / Math.max(turns.length, 1));
  const scale = (value) => ((HEIGHT - TOP - BOTTOM) * value) / most;
  setAttribute(svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
  setAttribute(svg, "aria-label", describe(turns));
  const marks = [grid(width, most)];
  turns.forEach((turn, place) => {
    const at = place * step;
    const body = Math.max(step - Math.min(4, step / 4), 0.5);
    const title = shape("title");
    setText(title, `turn ${turn.number}: ${format.bytes(turn.uploaded_bytes)} of ${format.bytes(turn.would_have_been_bytes)}`);
    const hasFailed = ["failed", "refused", "aborted"].includes(turn.outcome);
    marks.push(shape("g", {}, title,
      column("would", at, body, scale(turn.would_have_been_bytes)),
      column(hasFailed ? "failed" : "sent", at, body, Math.max(scale(turn.uploaded_bytes), 1.5))));
  });
  if (turns.length) marks.push(label(0, turns[0].number, "start"), label(Math.max(step * (turns.length - 0.5), 30), turns.at(-1).number, turns.length > 1 ? "middle" : "start"));
  svg.replaceChildren(...marks);
}

function column(name, x, width, height) {
  return shape("rect", { class: name, x: x.toFixed(1), width: width.toFixed(1), y: (HEIGHT - BOTTOM - height).toFixed(1), height: height.toFixed(1), rx: Math.min(2, width / 3) });
}

function grid(width, most) {
  const base = HEIGHT - BOTTOM + 0.5;
  return shape("g", { class: "grid" },
    shape("path", { d: `M0 ${base}H${width}M0 ${TOP + 0.5}H${width}` }),
    shape("text", { x: width, y: TOP - 5, "text-anchor": "end" }, format.bytes(most)));
}

function label(x, number, anchor) {
  return shape("text", { class: "axis", x: x.toFixed(1), y: HEIGHT - 5, "text-anchor": anchor }, String(number));
}

function describe(turns) {
  if (!turns.length) return "No turn yet";
  const last = turns.at(-1);
  return `${turns.length} turns; the last, ${last.number}, sent ${format.bytes(last.uploaded_bytes)} and would have been ${format.bytes(last.would_have_been_bytes)}`;
}
