// An installation as an operator makes one: a small configuration of its own, `zonegate serve`, an application behind
// it, and an authority that has certified whoever speaks TLS. Nothing of it comes from the demo.

import { mkdir, writeFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { randomBytes } from "node:crypto";

import { Gateway } from "./gateway.js";
import { Authority, freePort } from "./net.js";

const HOST = "desk.localhost";

/** Shows who it was told is asking. */
function application() {
  return http.createServer((request, answer) => {
    answer.setHeader("content-type", "text/html; charset=utf-8");
    answer.setHeader("cache-control", "no-store");
    const who = request.headers["x-forwarded-user"] ?? "nobody";
    answer.end(`<!doctype html><html lang="en"><title>Desk</title><main><h1>Desk</h1>
      <p id="who">${who}</p><p id="path">${request.url.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</p>
      <form method="post" action="/.zonegate/logout"><button id="leave">Log out</button></form></main>`);
  });
}

/** A running gateway with a zone of its own. */
export class Site extends Gateway {
  #application;
  #config;

  /**
   * `authority`: whose certificates it has; its own, where none is given. `sections`: what its configuration holds besides,
   * written when it is known where the site will be.
   */
  static async start({ host = HOST, authority, sections = async () => "" } = {}) {
    const site = new Site();
    await site.makeFolder();
    const at = (name) => path.join(site.folder, name);
    await mkdir(at("certs"));
    site.authority = authority ?? await Authority.make(site.folder);
    await site.authority.certify(host, at("certs"));

    site.#application = application();
    await new Promise((resolve) => site.#application.listen(0, "127.0.0.1", resolve));
    const [port, admin] = [await freePort(), await freePort()];
    site.origin = `https://${host}:${port}`;
    site.admin = `http://127.0.0.1:${admin}/`;
    site.host = host;

    await writeFile(at("master.key"), randomBytes(32).toString("base64"), { mode: 0o600 });
    site.#config = at("zonegate.yaml");
    await writeFile(site.#config, `
listen:
  https: [127.0.0.1:${port}]
  admin: 127.0.0.1:${admin}
master_key: file:master.key
store:
  path: zonegate.db
zones:
  - host: ${host}
    upstream:
      url: http://127.0.0.1:${site.#application.address().port}
brand:
  product: Desk
sso:
  networks: [127.0.0.1]
  ca_file: ${site.authority.file}
log:
  access: off
${await sections(site)}`);
    site.run(["serve", ...site.operatorArguments()]);
    await site.ready();
    return site;
  }

  operatorArguments() {
    return ["--config", this.#config];
  }

  /** Waits until it says of itself that people can log in. */
  async ready() {
    const end = Date.now() + 30_000;
    for (;;) {
      if (this.child.exitCode !== null) throw new Error(`zonegate ended with ${this.child.exitCode}:\n${this.log}`);
      try {
        await this.asked("GET", "readyz");
        return;
      } catch (error) {
        if (Date.now() > end) throw new Error(`zonegate is not ready: ${error.message}\n${this.log}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Ends the gateway and starts it anew on what it has stored. */
  async restart() {
    await this.end();
    this.run(["serve", ...this.operatorArguments()]);
    await this.ready();
  }

  async stop() {
    await super.stop();
    this.#application.closeAllConnections();
    await new Promise((resolve) => this.#application.close(resolve));
  }

  /** An address of the zone. */
  at(where = "/") {
    return new URL(where, this.origin).href;
  }

  /** Has `zonegate apply` make tenants and users what this says. */
  async apply(directory) {
    const file = path.join(this.folder, "directory.yaml");
    // JSON is YAML.
    await writeFile(file, JSON.stringify(directory));
    return this.command(["apply", "-f", file]);
  }

  /** Keeps a secret where only its owner may read it, and says where. */
  async secretFile(secret) {
    const file = path.join(this.folder, "client.secret");
    await writeFile(file, secret, { mode: 0o600 });
    return file;
  }

  /** The security events of a kind that the gateway wrote, the oldest first. What commands did they say themselves. */
  events(kind) {
    const lines = this.log.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
    return lines.map((line) => JSON.parse(line)).filter((line) => line.target === "security" && line.event === kind);
  }
}
