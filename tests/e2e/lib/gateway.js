// A gateway that runs: its process, its clock, and other commands of the same program on its data.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

const BINARY = process.env.ZONEGATE_BIN;

/** What `Demo` and `Site` have in common. Whoever starts one says where its admin listener is (`admin`). */
export class Gateway {
  folder;
  child;
  #ahead = 0;
  #log = "";
  #lastStep = new Map();

  async makeFolder() {
    if (!BINARY) throw new Error("ZONEGATE_BIN names the program under test; ./test e2e sets it");
    this.folder = await mkdtemp(path.join(tmpdir(), "zonegate-e2e-"));
  }

  /** Starts the program and keeps what it says on its standard error. */
  run(args) {
    this.child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.child.stderr.setEncoding("utf8").on("data", (text) => { this.#log += text; });
  }

  /** What it wrote to its log so far. */
  get log() {
    return this.#log;
  }

  /** Has the program end, and waits until it has. */
  async end() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.removeAllListeners("error");
    if (this.child.exitCode === null) {
      this.child.kill("SIGINT");
      await ended;
    }
  }

  async stop() {
    await this.end();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Seconds since 1970, as the gateway sees them. */
  now() {
    return Math.floor(Date.now() / 1000) + this.#ahead;
  }

  /** Moves the gateway's clock forward. */
  async advance(seconds) {
    this.#ahead += seconds;
    await this.asked("POST", "test/clock", JSON.stringify({ ahead_seconds: this.#ahead }));
  }

  /** What the admin listener answers. */
  asked(method, where, body) {
    return new Promise((resolve, reject) => {
      const headers = body ? { "content-type": "application/json", "content-length": Buffer.byteLength(body) } : {};
      const request = http.request(new URL(where, this.admin), { method, headers }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part) => { text += part; });
        answer.on("end", () => {
          if (answer.statusCode < 300) resolve(text);
          else reject(new Error(`${method} ${where}: ${answer.statusCode} ${text}`));
        });
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  /** Notes that the code of this step was used, so that `nextStep` does not offer it again. */
  used(who, step) {
    this.#lastStep.set(who, Math.max(step, this.#lastStep.get(who) ?? 0));
  }

  /** A step whose code is accepted now: each is accepted once. Moves the clock on when none is left. */
  async nextStep(who, period) {
    const current = () => Math.floor(this.now() / period);
    const last = this.#lastStep.get(who) ?? 0;
    if (last > current()) await this.advance(period);
    const step = Math.max(current(), last + 1);
    this.used(who, step);
    return step;
  }

  /** Runs another command of the same program on the same data, as an operator would. */
  command(args, input = "") {
    return new Promise((resolve, reject) => {
      const stdin = input ? "pipe" : "ignore";
      const child = spawn(BINARY, [...args, ...this.operatorArguments()], { stdio: [stdin, "pipe", "pipe"] });
      let out = "";
      child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
      child.stderr.setEncoding("utf8").on("data", (text) => { out += text; });
      child.once("error", reject);
      child.once("close", (code) => {
        if (code === 0) resolve(out);
        else reject(new Error(`${args.join(" ")} ended with ${code}:\n${out}`));
      });
      child.stdin?.end(input);
    });
  }
}
