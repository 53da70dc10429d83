// What is shown before the first session: how to begin, with this server's own address.

import { element } from "./dom.js";

let isShown = false;

export async function showBeginning(parent) {
  if (isShown) return;
  isShown = true;
  const model = await firstModel();
  const base = new URL("v1", document.baseURI).href;
  const body = JSON.stringify({ model, input: "Say hello." });
  parent.replaceChildren(
    element("h3", {}, "No session yet"),
    element("p", {}, "Send something through the line and it shows up here at once. From a terminal:"),
    code(`curl -s ${base}/responses -H 'content-type: application/json' \\\n  -d '${body}'`),
    element("p", {}, "An agent whose turns are deltas over one socket, so that there is something to save:"),
    code(`landline agent "what does this folder contain?" --dir . --url ${base}`),
    element("p", {}, "Any client of the Responses API works: give it this base URL."),
    code(base),
  );
}

function code(text) {
  return element("pre", { tabindex: "0" }, element("code", {}, text));
}

async function firstModel() {
  try {
    const reply = await fetch("v1/models");
    const { data } = await reply.json();
    return data[0]?.id ?? "MODEL";
  } catch {
    return "MODEL";
  }
}
