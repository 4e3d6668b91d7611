// Starts the real program on a fresh home and a free port, and reads its address and one-time code from what it prints.

import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const programs = process.env.VT_TEST_PROGRAMS ?? join(process.env.CARGO_TARGET_DIR ?? join(repository, "target"), "debug");
const START_DEADLINE_MS = 30_000;

// `again` of a server that was killed starts it on the same home and port.
export async function startServer(extra = ["--demo"], again = null) {
  const home = again?.home ?? (await mkdtemp(join(tmpdir(), "vt-browser-")));
  const environment = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("VOLTTRON") && key !== "RUST_LOG"));
  const child = spawn(join(programs, "volttron"), ["--bind-web-address", again?.url ?? "https://127.0.0.1:0", ...extra], {
    env: { ...environment, VOLTTRON_HOME: home },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((done) => child.once("close", (code, signal) => done({ code, signal })));
  // A test run that dies must not leave servers behind.
  const reap = () => child.kill("SIGKILL");
  process.once("exit", reap);

  let output = "";
  const url = await new Promise((ready, fail) => {
    const timer = setTimeout(() => fail(new Error(`not ready within ${START_DEADLINE_MS} ms:\n${output}`)), START_DEADLINE_MS);
    const look = (chunk) => {
      output += chunk;
      const found = /VOLTTRON is ready at (https?:\/\/\S+)\n/.exec(output);
      if (found) {
        clearTimeout(timer);
        ready(found[1].replace(/\/$/, ""));
      }
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.once("error", fail);
    ended.then(({ code, signal }) => fail(new Error(`ended with ${code ?? signal} before it was ready:\n${output}`)));
  });

  return {
    url,
    home,
    output: () => output,
    // The line comes right after the ready line; the file is there before.
    async code() {
      const printed = /enter the code (\S+)/.exec(output)?.[1];
      return printed ?? (await readFile(join(home, "first-run-code"), "utf8")).trim();
    },
    async caFile() {
      const folder = join(home, "certificates/certs");
      const name = (await readdir(folder)).find((name) => name.endsWith("-root-ca.crt"));
      return join(folder, name);
    },
    // Ends it as a power failure would; its home stays.
    async kill() {
      reap();
      await ended;
      process.removeListener("exit", reap);
    },
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(reap, 10_000);
      const end = await ended;
      clearTimeout(timer);
      process.removeListener("exit", reap);
      await rm(home, { recursive: true, force: true });
      return end;
    },
  };
}
