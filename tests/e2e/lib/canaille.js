// A second provider, made by others in another language: Canaille of PyPI. It knows people by a password, shows what the
// client would know of them, and puts claims into the ID token.

import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { freePort } from "./net.js";

const HOST = "directory.localhost";
const PROGRAM = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "provider", "serve.py");

export class Canaille {
  #child;
  #log = "";

  /** `people`: name, email and password of each. `client`: what it knows of us. */
  static async start(authority, folder, { client, people }) {
    const provider = new Canaille();
    const port = await freePort();
    const { certFile, keyFile } = await authority.certify(HOST, folder);
    provider.issuer = `https://${HOST}:${port}`;
    const site = { name: `${HOST}:${port}`, bind: `127.0.0.1:${port}`, certificate: certFile, key: keyFile, client, people };
    const python = process.env.PROVIDER_PYTHON;
    if (!python) throw new Error("PROVIDER_PYTHON names a Python that has Canaille; ./test e2e sets it");
    provider.#child = spawn(python, [PROGRAM], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
    provider.#child.stderr.setEncoding("utf8").on("data", (text) => { provider.#log += text; });
    provider.#child.stdin.end(JSON.stringify(site));
    for await (const line of createInterface({ input: provider.#child.stdout })) {
      if (line === "ready") return provider;
    }
    throw new Error(`Canaille did not start:\n${provider.#log}`);
  }

  /** What it wrote to its log. */
  get log() {
    return this.#log;
  }

  /** Ends it, in the middle of whatever it does. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/** Logs in there, on two pages, and if asked whether the application may know who it is, answers so. */
export async function logInAt(page, provider, name, password, consent = "accept") {
  const there = () => new URL(page.url()).origin === provider.issuer;
  const send = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
  await page.fill("[name=login]", name);
  await send("button[type=submit]");
  await page.fill("[name=password]", password);
  await send("button[type=submit]");
  if (there()) await send(`button[value=${consent}]`);
}
