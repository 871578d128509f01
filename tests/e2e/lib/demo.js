// Starts and stops `zonegate demo` for a test file.

import { readFile } from "node:fs/promises";
import path from "node:path";

import { Gateway } from "./gateway.js";

/** A running demo with data of its own. */
export class Demo extends Gateway {
  static async start() {
    const demo = new Demo();
    await demo.makeFolder();
    demo.run(["demo", "--json", "--port", "0", "--data", path.join(demo.folder, "data")]);
    Object.assign(demo, await demo.#announcement());
    demo.ca = await readFile(demo.ca_file);
    return demo;
  }

  #announcement() {
    return new Promise((resolve, reject) => {
      let text = "";
      this.child.once("error", reject);
      this.child.once("exit", (code) => reject(new Error(`demo ended with ${code}:\n${this.log}`)));
      this.child.stdout.setEncoding("utf8").on("data", (part) => {
        text += part;
        try {
          resolve(JSON.parse(text));
        } catch (error) {
          if (!(error instanceof SyntaxError)) reject(error);
        }
      });
    });
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

  /** How a command is told which installation it works on. */
  operatorArguments() {
    return ["--config", path.join(this.folder, "data", "zonegate.yaml")];
  }
}
