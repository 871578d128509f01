// A real browser, and what a person does in it.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

import jsQR from "jsqr";
import { chromium } from "playwright-core";
import { PNG } from "pngjs";

import { codeOf, parseOtpauth } from "./totp.js";

const ARTEFACTS = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "artefacts");
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--host-resolver-rules=MAP *.localhost 127.0.0.1",
    ],
  });
}

/** A person at a browser of their own: no cookie is shared with another. */
export async function person(browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: "en-GB", ...options });
  // Long, for a machine that does other things as well: only a test that fails waits for it.
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  // A page that asks for something it may not have, or whose script fails, fails the test.
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(`script: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy/.test(message.text())) page.troubles.push(message.text());
  });
  return page;
}

let taken = 0;

/** Keeps a picture, and asks axe whether everybody can use the page. */
export async function look(page, name) {
  await mkdir(ARTEFACTS, { recursive: true });
  taken += 1;
  const file = `${path.basename(process.argv[1], ".test.js")}-${String(taken).padStart(2, "0")}-${name}.png`;
  await page.screenshot({ path: path.join(ARTEFACTS, file), fullPage: true });
  assert.deepEqual(page.troubles, [], `troubles on ${name}`);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run({
    runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] },
  }));
  const found = violations.map((v) => `${v.id}: ${v.help}\n    ${v.nodes.map((n) => n.html).join("\n    ")}`);
  assert.deepEqual(found, [], `axe on ${name} (${page.url()})`);
  // To read the style of a shadow root, axe makes an inline one, which no policy of ours allows.
  page.troubles = [];
}

/** The text of an element that must be there. */
export async function text(page, selector) {
  return (await page.locator(selector).innerText()).trim();
}

/** Clicks and waits for the page that comes of it. */
async function go(page, selector) {
  await Promise.all([page.waitForNavigation(), page.click(selector)]);
}

export { go };

export async function enterUsername(page, username) {
  await page.fill("#username", username);
  await go(page, "#continue");
}

export async function enterPassword(page, password) {
  await page.fill("#password", password);
  await go(page, "#login");
}

export async function enterCode(page, code) {
  await page.fill("#code", code);
  await go(page, "#verify");
}

/** Opens an address and gives username and password: what follows is the code, or setting one up. */
export async function upToCode(page, demo, username, where = "/") {
  const user = demo.user(username);
  await page.goto(demo.at(username, where));
  await enterUsername(page, username);
  await enterPassword(page, user.password);
}

/** A complete log-in of somebody who has an authenticator. */
export async function logIn(page, demo, username, where = "/", period = 30) {
  await upToCode(page, demo, username, where);
  const step = await demo.nextStep(username, period);
  await enterCode(page, codeOf(demo.user(username).totp_secret, step));
}

/** Whether the page is the application's. */
export async function inApplication(page) {
  return (await page.locator("zonegate-menu").count()) === 1;
}

/** Logs out by the menu of the application's pages. */
export async function logOut(page) {
  await page.click("#user-menu");
  await go(page, "#log-out");
}

/** The id of the session, as the application was told it. The page must be the application's. */
export function sessionId(page) {
  return page.evaluate(async () => {
    const answer = await fetch("/echo", { headers: { accept: "application/json" } });
    return (await answer.json()).assertion.claims.sid;
  });
}

/** Reads the QR code from a picture of the page, as a phone would. */
export async function readQr(page) {
  const png = PNG.sync.read(await page.locator("#qr").screenshot());
  const code = jsQR(new Uint8ClampedArray(png.data), png.width, png.height);
  assert.ok(code, "the picture holds a QR code that can be read");
  return parseOtpauth(code.data);
}
