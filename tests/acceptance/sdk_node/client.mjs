// The SDK as an application has it: nothing is set but the key and the base URL.
import OpenAI from "openai";

export const HELLO = [{ role: "user", content: "Hello there" }];

export function connect(world, { key = "good", ...options } = {}) {
  return new OpenAI({ apiKey: world.keys[key], baseURL: world.base_url, ...options });
}

export async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

export function textOf(chunks) {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
}

export function simulate(script) {
  return [{ role: "user", content: `Hello [simulate ${script}]` }];
}
