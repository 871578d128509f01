// Ports, throw-away certificates, and the requests that programs make of each other, all on loopback.

import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import https from "node:https";
import net from "node:net";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A port that nobody has at the moment. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** An authority for one test run, whose files are in `folder`. */
export class Authority {
  #folder;

  static async make(folder) {
    const authority = new Authority();
    authority.#folder = folder;
    authority.file = path.join(folder, "authority.pem");
    await run("openssl", [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
      "-subj", "/CN=A throw-away authority", "-addext", "keyUsage=critical,keyCertSign",
      "-keyout", path.join(folder, "authority.key"), "-out", authority.file,
    ]);
    authority.pem = await readFile(authority.file);
    return authority;
  }

  /** A certificate and key for a host, as HOST.crt and HOST.key in `folder`. */
  async certify(host, folder) {
    const at = (ending) => path.join(folder, `${host}${ending}`);
    await writeFile(at(".ext"), `subjectAltName=DNS:${host}\nextendedKeyUsage=serverAuth\n`);
    await run("openssl", [
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", `/CN=${host}`,
      "-keyout", at(".key"), "-out", at(".csr"),
    ]);
    await run("openssl", [
      "x509", "-req", "-days", "2", "-in", at(".csr"), "-extfile", at(".ext"), "-out", at(".crt"),
      "-CA", this.file, "-CAkey", path.join(this.#folder, "authority.key"), "-CAcreateserial",
    ]);
    return { certFile: at(".crt"), keyFile: at(".key"), cert: await readFile(at(".crt")), key: await readFile(at(".key")) };
  }

  /** What `fetch` does, at a host of loopback that this authority has certified. */
  fetch(url, { method = "GET", headers = {}, body } = {}) {
    const lookup = (_, options, done) =>
      options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
    const fields = Object.fromEntries(new Headers(headers));
    const bytes = body === undefined || body === null ? undefined : Buffer.from(String(body));
    if (bytes) fields["content-length"] = bytes.length;
    return new Promise((resolve, reject) => {
      const request = https.request(url, { method, headers: fields, lookup, ca: this.pem, agent: false }, async (answer) => {
        try {
          const parts = await answer.toArray();
          resolve(new Response(parts.length ? Buffer.concat(parts) : null, { status: answer.statusCode }));
        } catch (error) {
          reject(error);
        }
      });
      request.on("error", reject);
      request.end(bytes);
    });
  }
}
