// Runs every check at once against one gateway and tells of each in a line of JSON:
// {"check": name, "failure": null | what went wrong}. The only argument describes the gateway.
import { answers } from "./answers.mjs";
import { errors } from "./errors.mjs";

const world = JSON.parse(process.argv[2]);

async function run([name, check]) {
  let failure = null;
  try {
    await check(world);
  } catch (error) {
    failure = error.stack ?? String(error);
  }
  process.stdout.write(JSON.stringify({ check: name, failure }) + "\n");
}

await Promise.all(Object.entries({ ...answers, ...errors }).map(run));
