// One streamed answer over SSE with the openai package; prints every event as a line of JSON.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const stream = await client.responses.create({ model: process.env.MODEL, input: "Say hello.", store: false, stream: true });
for await (const event of stream) console.log(JSON.stringify(event));
