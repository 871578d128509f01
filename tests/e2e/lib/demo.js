// Starts and stops `zonegate demo` for a test file, and knows what time it is in there.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

const BINARY = process.env.ZONEGATE_BIN;

/** A running demo with data of its own. */
export class Demo {
  #child;
  #folder;
  #ahead = 0;
  #log = "";
  #lastStep = new Map();

  static async start() {
    if (!BINARY) throw new Error("ZONEGATE_BIN names the program under test; ./test e2e sets it");
    const demo = new Demo();
    demo.#folder = await mkdtemp(path.join(tmpdir(), "zonegate-e2e-"));
    const args = ["demo", "--json", "--port", "0", "--data", path.join(demo.#folder, "data")];
    demo.#child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    demo.#child.stderr.setEncoding("utf8").on("data", (text) => { demo.#log += text; });
    Object.assign(demo, await demo.#announcement());
    demo.ca = await readFile(demo.ca_file);
    return demo;
  }

  #announcement() {
    return new Promise((resolve, reject) => {
      let text = "";
      this.#child.once("error", reject);
      this.#child.once("exit", (code) => reject(new Error(`demo ended with ${code}:\n${this.#log}`)));
      this.#child.stdout.setEncoding("utf8").on("data", (part) => {
        text += part;
        try {
          resolve(JSON.parse(text));
        } catch (error) {
          if (!(error instanceof SyntaxError)) reject(error);
        }
      });
    });
  }

  /** What it wrote to its log so far. */
  get log() {
    return this.#log;
  }

  async stop() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.removeAllListeners("error");
    if (this.#child.exitCode === null) {
      this.#child.kill("SIGINT");
      await ended;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The sample user of this name. */
  user(username) {
    const user = this.users.find((user) => user.username === username);
    if (!user) throw new Error(`the demo has no ${username}`);
    return user;
  }

  /** The address of the zone that this user lives in, with a path. */
  at(username, where = "/") {
    return new URL(where, this.user(username).zone).href;
  }

  /** Seconds since 1970, as the gateway sees them. */
  now() {
    return Math.floor(Date.now() / 1000) + this.#ahead;
  }

  /** Moves the gateway's clock forward. */
  async advance(seconds) {
    this.#ahead += seconds;
    await this.#admin("POST", "test/clock", JSON.stringify({ ahead_seconds: this.#ahead }));
  }

  #admin(method, where, body) {
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

  /** Runs another command of the same program on the demo's data, as an operator would. */
  command(args, input = "") {
    return new Promise((resolve, reject) => {
      const child = spawn(BINARY, [...args, ...this.operatorArguments()], { stdio: ["pipe", "pipe", "pipe"] });
      let out = "";
      child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
      child.stderr.setEncoding("utf8").on("data", (text) => { out += text; });
      child.once("error", reject);
      child.once("exit", (code) => {
        if (code === 0) resolve(out);
        else reject(new Error(`${args.join(" ")} ended with ${code}:\n${out}`));
      });
      child.stdin.end(input);
    });
  }

  /** How a command is told which installation it works on. */
  operatorArguments() {
    return ["--config", path.join(this.#folder, "data", "zonegate.yaml")];
  }
}
