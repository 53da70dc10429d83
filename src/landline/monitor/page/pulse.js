// The upload of the last two minutes, second by second, with Landline and without.

import { byId, setAttribute, setText, shape } from "./dom.js";
import * as format from "./format.js";

const SECONDS = 120;
const WIDTH = 240;
const HEIGHT = 72;

export class Pulse {
  constructor() {
    this.svg = byId("pulse");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.would = this.svg.appendChild(shape("path", { class: "would" }));
    this.sent = this.svg.appendChild(shape("path", { class: "sent" }));
    this.forget();
  }

  /** Another process counts from nothing. */
  forget() {
    this.last = null;
    this.second = null;
    this.samples = Array.from({ length: SECONDS }, () => [0, 0]);
    this.draw();
  }

  /** Called about once a second with the totals so far; null while they are not told: what came then has no second. */
  tick(totals) {
    const second = Math.floor(performance.now() / 1000);
    const passed = this.second === null ? 1 : Math.min(second - this.second, SECONDS);
    if (passed < 1) return;
    this.second = second;
    const now = totals && [totals.uploaded_bytes, totals.stateless_bytes];
    const before = this.last ?? now;
    this.last = now;
    for (let place = 1; place < passed; place += 1) this.samples.push([0, 0]);
    this.samples.push(now ? [Math.max(0, now[0] - before[0]), Math.max(0, now[1] - before[1])] : [0, 0]);
    this.samples.splice(0, this.samples.length - SECONDS);
    this.draw();
  }

  draw() {
    const peak = Math.max(...this.samples.map(([sent, would]) => Math.max(sent, would)));
    setAttribute(this.would, "d", outline(this.samples.map(([, would]) => would), peak));
    setAttribute(this.sent, "d", outline(this.samples.map(([sent]) => sent), peak));
    setText(byId("pulse-peak"), peak ? `at most ${format.bytes(peak)}/s` : "quiet");
  }
}

function outline(values, peak) {
  if (!peak) return `M0 ${HEIGHT - 1}H${WIDTH}V${HEIGHT}H0Z`;
  const step = WIDTH / values.length;
  const steps = values.map((value) => `V${(HEIGHT - 1 - ((HEIGHT - 3) * value) / peak).toFixed(1)}h${step}`);
  return `M0 ${HEIGHT}${steps.join("")}V${HEIGHT}Z`;
}
