// Twenty tool calls as deltas over one socket with `ResponsesWS` of the openai package, then one error.
// Prints every server event as a line of JSON.
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const TURNS = 20;
const tools = [
  {
    type: "function",
    name: "lookup",
    description: "Looks a key up.",
    strict: true,
    parameters: { type: "object", properties: { key: { type: "string" } }, required: ["key"], additionalProperties: false },
  },
];

const socket = new ResponsesWS(new OpenAI());
const create = (fields) => socket.send({ type: "response.create", model: process.env.MODEL, store: false, tools, ...fields });
create({ input: "Look everything up." });

let calls = 0;
for await (const message of socket) {
  if (message.type === "error") {
    if (!message.error.error) throw message.error;
    console.log(JSON.stringify(message.error.error));
    break;
  }
  if (message.type !== "message") continue;
  const event = message.message;
  console.log(JSON.stringify(event));
  if (event.type === "error") break;
  if (event.type !== "response.completed") continue;
  const call = event.response.output.find((item) => item.type === "function_call");
  if (call) {
    calls += 1;
    const output = { type: "function_call_output", call_id: call.call_id, output: `value ${calls}` };
    create({ previous_response_id: event.response.id, input: [output] });
  } else {
    if (calls !== TURNS) throw new Error(`expected ${TURNS} calls, saw ${calls}`);
    create({ previous_response_id: "resp_unknown", input: "Is anyone there?" });
  }
}
socket.close();
