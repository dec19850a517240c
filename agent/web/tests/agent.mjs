// An agent of the tests: its own store, its own address, and a control group of its own, so that it sees nothing else.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const AGENT = process.env.NETSPAN_BIN;
const FILL = process.env.NETSPAN_FILL;
const READY_MS = 120_000;

/** Where control groups of version 2 are. */
function groups() {
  const mount = readFileSync("/proc/self/mounts", "utf8").split("\n").map((line) => line.split(" ")).find((fields) => fields[2] === "cgroup2");
  if (!mount) throw new Error("no cgroup2 file system is mounted");
  return mount[1];
}

let number = 0;

export class Agent {
  /** Starts one over a store with so many traces; `options.token` makes it ask for it. */
  static async start({ traces = 0, minutes = 30, big = 0, token = "" } = {}) {
    if (!AGENT || !FILL) throw new Error("NETSPAN_BIN and NETSPAN_FILL name the agent and the example `fill`: run `cargo xtask test --suite web`");
    const agent = new Agent();
    agent.dir = mkdtempSync(join(tmpdir(), "netspan-web-"));
    agent.group = `netspan-web-${process.pid}-${number++}`;
    mkdirSync(join(groups(), agent.group));
    if (traces || big) {
      const filled = spawnSync(FILL, [agent.dir, traces, minutes, big].map(String), { encoding: "utf8" });
      if (filled.status !== 0) throw new Error(`the store can't be filled: ${filled.stderr}`);
    }
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(OTEL|NETSPAN)_/.test(name)));
    if (token) env.NETSPAN_TOKEN = token;
    const flags = ["run", "--listen", "127.0.0.1:0", "--store", agent.dir, "--store-bytes", "8GiB", "--cgroup", `/${agent.group}`];
    agent.child = spawn(AGENT, flags, { env, stdio: ["ignore", "ignore", "pipe"] });
    let printed = "";
    agent.url = await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the agent is not ready:\n${printed}`)), READY_MS);
      agent.child.stderr.on("data", (data) => {
        printed += data;
        const address = /listens on (http:\S+)/.exec(printed)?.[1];
        if (!address || !printed.includes("netspan: ready in")) return;
        clearTimeout(late);
        resolve(address);
      });
      agent.child.on("exit", () => (clearTimeout(late), reject(new Error(`the agent ended:\n${printed}`))));
    });
    return agent;
  }

  /** Runs a server and clients that the agent sees. Resolves once it serves. */
  async traffic(...args) {
    const script = fileURLToPath(new URL("traffic.mjs", import.meta.url));
    const shell = `echo $$ > ${groups()}/${this.group}/cgroup.procs && exec "$0" "$@"`;
    const child = spawn("sh", ["-c", shell, process.execPath, script, ...args.map(String)], { stdio: ["ignore", "pipe", "inherit"] });
    const port = await new Promise((resolve, reject) => {
      child.stdout.once("data", resolve);
      child.once("exit", () => reject(new Error("the traffic ended")));
    });
    this.ports = [...(this.ports ?? []), Number(port)];
    this.others = [...(this.others ?? []), child];
    return child;
  }

  async get(path, headers = {}) {
    const response = await fetch(this.url + path, { headers });
    return response.json();
  }

  async stop() {
    const ended = (child, signal) => new Promise((resolve) => (child.exitCode !== null || child.signalCode ? resolve() : (child.once("exit", resolve), child.kill(signal))));
    for (const child of this.others ?? []) await ended(child, "SIGKILL");
    await ended(this.child, "SIGINT");
    rmSync(this.dir, { recursive: true, force: true });
    for (let tries = 0; tries < 50; tries++) {
      try {
        return rmdirSync(join(groups(), this.group));
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}
