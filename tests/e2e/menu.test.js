// The user menu and the launcher on an application's pages: P12, R94, R95, R115, R120, traps 28 and 38.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { go, inApplication, launch, logIn, logOut, look, person, text } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const alice = "alice@acme.example";
const ada = "ada@acme.example";
const LAUNCHER = "**/.zonegate/launcher";

/** What has the focus, inside the menu's shadow root too. */
const focused = (page) => page.evaluate(() => {
  let element = document.activeElement;
  while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element.id || element.textContent;
});

/** A picture of what is open, and axe on it, by day and by night and on a phone. */
async function lookAround(page, name) {
  const usual = page.viewportSize();
  await look(page, name);
  await page.emulateMedia({ colorScheme: "dark" });
  await look(page, `${name}-dark`);
  await page.setViewportSize({ width: 360, height: 740 });
  await look(page, `${name}-phone`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `${name} is ${wider} pixels wider than the screen`);
  await page.setViewportSize(usual);
  await page.emulateMedia({ colorScheme: "light" });
}

const expanded = (page, button) => page.getAttribute(button, "aria-expanded");

/** What the gateway says after a suite log-in: the script is given it as if it had asked. */
async function fromSuite(page, modules) {
  const told = await page.evaluate(async () => (await fetch("/.zonegate/launcher")).json());
  const suite = { name: "AcmeOne", url: "https://one.example/" };
  const labels = { ...told.labels, suite: "Open AcmeOne", modules: "Modules of AcmeOne" };
  await page.route(LAUNCHER, (route) => route.fulfill({ json: { ...told, suite, labels, modules } }));
}

/** A page of an application that has never heard of us but for one line, and whose styles and policy are what they are. */
async function strangePage(page, where, body) {
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Elsewhere</title><base href="https://elsewhere.example/">
    <link rel="stylesheet" href="${demo.at(alice, "/strange.css")}"><script src="${demo.at(alice, "/.zonegate/assets/menu.js")}" defer></script></head>${body}</html>`;
  const strict = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self' https:; require-trusted-types-for 'script'";
  const css = "* { color: red !important; text-transform: uppercase !important; display: block !important } html { font-size: 62.5% }";
  await page.route("**/strange.css", (route) => route.fulfill({ contentType: "text/css", body: css }));
  await page.route(`**${where}`, (route) => route.fulfill({ contentType: "text/html", headers: { "content-security-policy": strict }, body: html }));
  await page.goto(demo.at(alice, where));
}

test("the menu says who it is, and has My settings and Log out (P12, R115)", async () => {
  const page = await person(browser);
  await logIn(page, demo, alice);
  assert.equal(await text(page, "#user-name"), "Alice Archer");
  assert.equal(await expanded(page, "#user-menu"), "false");
  assert.equal(await page.locator("#my-settings").isVisible(), false);
  await look(page, "closed");
  await page.click("#user-menu");
  assert.equal(await expanded(page, "#user-menu"), "true");
  assert.equal(await text(page, "#user-username"), alice);
  await lookAround(page, "open");
  await page.click("h1");
  assert.equal(await expanded(page, "#user-menu"), "false", "a click elsewhere closes it");
  assert.equal(await page.locator("#launcher").count(), 0, "a local session has no modules (trap 28)");
  assert.match(await page.getAttribute("#suite-home", "href"), /\/one$/, "only the way to the suite (R94)");
  await page.click("#user-menu");
  await go(page, "#my-settings");
  assert.equal(await text(page, "#my-username"), alice);
});

test("by keyboard alone: arrows, Tab, Escape, Enter", async () => {
  const page = await person(browser);
  await logIn(page, demo, ada);
  await page.locator("#user-menu").focus();
  await page.keyboard.press("Enter");
  assert.equal(await focused(page), "my-settings");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(page), "log-out");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(page), "my-settings", "round and round");
  await page.keyboard.press("End");
  assert.equal(await focused(page), "log-out");
  await page.keyboard.press("Escape");
  assert.equal(await expanded(page, "#user-menu"), "false");
  assert.equal(await focused(page), "user-menu", "the focus is back where it came from");
  await page.keyboard.press("ArrowUp");
  assert.equal(await focused(page), "log-out", "from below");
  await page.keyboard.press("Tab");
  assert.equal(await expanded(page, "#user-menu"), "false", "whoever leaves it closes it");
  await page.locator("#user-menu").focus();
  await page.keyboard.press("Space");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  assert.equal(await text(page, "#my-username"), ada);
});

test("Log out is a form that posts, and no address that logs out by being opened (R115, trap 38)", async () => {
  const page = await person(browser);
  await logIn(page, demo, alice);
  await page.click("#user-menu");
  assert.equal(await page.locator("a[href*=logout]").count(), 0);
  await page.keyboard.press("Escape");
  const asked = [];
  page.on("request", (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
  await logOut(page);
  assert.equal(asked[0], "POST /.zonegate/logout");
  assert.match(await text(page, "#notice"), /You are logged out/);
  await page.goto(demo.at(alice));
  assert.equal(await inApplication(page), false);
});

test("a suite session's launcher, and only the way to the suite where it has no modules (R94, trap 28)", async () => {
  const page = await person(browser);
  await logIn(page, demo, alice);
  await fromSuite(page, [{ id: "desk", name: "Acme Desk", url: demo.at(alice, "/tickets") }, { id: "quotes", name: "Quotes", url: "https://quotes.example/" }]);
  await page.reload();
  await page.click("#launcher");
  assert.equal(await focused(page), "AAcme Desk", "its mark and its name");
  await lookAround(page, "launcher");
  assert.deepEqual(await page.locator("#launcher + .panel a").evaluateAll((links) => links.map((link) => link.href)),
    [demo.at(alice, "/tickets"), "https://quotes.example/", "https://one.example/"]);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "user-menu");
  assert.equal(await expanded(page, "#launcher"), "false", "one menu at a time");
  await page.click("#launcher");
  await go(page, "#launcher + .panel a >> nth=0");
  assert.equal(new URL(page.url()).pathname, "/tickets");

  await page.unroute(LAUNCHER);
  await fromSuite(page, []);
  await page.reload();
  assert.equal(await page.getAttribute("#suite-home", "href"), "https://one.example/");
  assert.equal(await page.locator("#launcher").count(), 0);
  await lookAround(page, "suite");
});

test("a page with one line of ours: top right, under a strict policy, and its styles stay outside (R120)", async () => {
  const page = await person(browser);
  await logIn(page, demo, alice);
  await strangePage(page, "/strange", "<body><main><h1>Elsewhere</h1></main></body>");
  const button = page.locator("#user-menu");
  assert.equal(await text(page, "#user-name"), "Alice Archer");
  const style = await button.evaluate((element) => {
    const { textTransform, display, fontSize, color } = getComputedStyle(element);
    return { textTransform, display, fontSize, red: color === "rgb(255, 0, 0)" };
  });
  assert.deepEqual(style, { textTransform: "none", display: "flex", fontSize: "15px", red: false });
  const { x, y, width } = await button.boundingBox();
  assert.ok(y < 40 && x + width > page.viewportSize().width - 40, "at the top right");
  assert.equal(await page.locator("zonegate-menu").count(), 1);
  await button.click();
  await lookAround(page, "one-line");

  // A place that the page makes later is where it goes, and not twice.
  await page.evaluate(() => document.querySelector("main").append(document.createElement("zonegate-menu")));
  await page.locator("main zonegate-menu #user-name").waitFor();
  assert.equal(await page.locator("zonegate-menu").count(), 1);
});

test("a page does not suffer from a menu that is not told: nothing is shown, nothing is thrown", async () => {
  const page = await person(browser);
  await logIn(page, demo, ada);
  for (const [where, answer] of [
    [LAUNCHER, (route) => route.abort()],
    [LAUNCHER, (route) => route.fulfill({ status: 401, json: { error: "unauthenticated" } })],
    [LAUNCHER, (route) => route.fulfill({ contentType: "application/json", body: "<" })],
    [LAUNCHER, (route) => route.fulfill({ json: {} })],
    ["**/menu.css", (route) => route.abort()],
  ]) {
    const answered = new Promise((done) => {
      page.route(where, async (route) => { await answer(route); done(); });
    });
    await page.reload();
    await answered;
    // What comes of an answer, comes before the next one.
    await page.evaluate(async () => { await fetch("/desk.js"); await new Promise(requestAnimationFrame); });
    assert.equal(await page.locator("#user-menu").count(), 0);
    assert.deepEqual(page.troubles, []);
    await page.unroute(where);
  }
});

test("German, where the browser asks for it", async () => {
  const page = await person(browser, { locale: "de-DE" });
  await logIn(page, demo, ada);
  await page.click("#user-menu");
  assert.equal(await text(page, "#log-out"), "Abmelden");
  assert.equal(await text(page, "#my-settings"), "Meine Einstellungen");
});

test("a page that asks who is there keeps nobody's session alive (D17)", async () => {
  const page = await person(browser);
  await demo.advance(9 * 3600);
  await logIn(page, demo, alice);
  await demo.advance(8 * 3600 - 60);
  assert.equal(await page.evaluate(async () => (await fetch("/.zonegate/launcher")).status), 200);
  await demo.advance(120);
  assert.equal(await page.evaluate(async () => (await fetch("/.zonegate/launcher")).status), 401);
});
