// The demo's sample suite: U4, U19, U20, V9, R90 to R96, R117, D22, D23.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, enterPassword, enterUsername, go, inApplication, launch, look, person, text } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";
import { codeOf } from "./lib/totp.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const alice = "alice@acme.example";
const bob = "bob@acme.example";
const ada = "ada@acme.example";
const carol = "carol@bolt.example";
const zoe = "zoe@acme.example";

const atSuite = (page) => new URL(page.url()).hostname === "id.localhost";

/** Gives a name and chooses the suite. */
async function toSuite(page, username, at = alice) {
  await page.goto(demo.at(at));
  await page.fill("#username", username);
  await go(page, "#suite");
  assert.ok(atSuite(page), page.url());
}

async function pick(page, username) {
  await go(page, `#people button:has-text("${username}")`);
}

/** What the application was told of who is asking. */
function claims(page) {
  return page.evaluate(async () => {
    const answer = await fetch("/echo", { headers: { accept: "application/json" } });
    return (await answer.json()).assertion.claims;
  });
}

/** The suite's address; the page must be there. */
const one = (page) => `${new URL(page.url()).origin}/one`;

test("username and button, the suite, home; its own module opens without a log-in (U19, R90, R94)", async () => {
  const page = await person(browser);
  await toSuite(page, alice);
  const suite = one(page);
  assert.match(await text(page, "#sample"), /AcmeOne.*believes anybody/s);
  await look(page, "pick");
  await pick(page, alice);
  assert.ok(await inApplication(page));
  const told = await claims(page);
  assert.deepEqual([told.username, told.tenant, told.method], [alice, "acme", "suite"]);
  await page.goto(`${suite}/academy`);
  assert.match(await text(page, "#student"), /You are Alice Archer/);
  await look(page, "academy");
});

test("Log Out ends it here and there; log-out there ends it here (U20, R96, R117)", async () => {
  const page = await person(browser);
  await toSuite(page, alice);
  const suite = one(page);
  await pick(page, alice);
  await page.goto(demo.at(alice, "/.zonegate/logout"));
  await go(page, "#logout");
  assert.match(await text(page, "#notice"), /You are logged out/);
  await page.goto(`${suite}/academy`);
  assert.match(await text(page, "#student"), /knows nobody/);

  await toSuite(page, alice);
  await pick(page, alice);
  await page.goto(suite);
  await look(page, "home");
  await go(page, "#log-out");
  await page.goto(demo.at(alice));
  assert.equal(await inApplication(page), false);
});

test("from the suite's tile, which asks first (D21, S12)", async () => {
  const page = await person(browser);
  await toSuite(page, alice);
  await page.goto(one(page));
  await go(page, '#tiles a:has-text("West")');
  assert.ok(!atSuite(page), "asked before anything happens");
  await go(page, "#continue");
  await pick(page, alice);
  assert.ok(await inApplication(page));
  assert.equal((await claims(page)).username, alice);
});

test("whose own log-in is not set up yet gets no further, and is not linked (U4, R28)", async () => {
  const page = await person(browser);
  await toSuite(page, bob);
  await pick(page, bob);
  assert.match(await text(page, "#error"), /not set up yet/);
  await look(page, "too-early");
});

test("somebody else, and a company that does not use it (U21, R92, R93)", async () => {
  const page = await person(browser);
  await toSuite(page, alice);
  await pick(page, ada);
  assert.match(await text(page, "#error"), /does not match this username/);
  const other = await person(browser);
  await toSuite(other, carol, carol);
  await pick(other, carol);
  assert.match(await text(other, "#error"), /not enabled for your company/);
});

test("a person of the company whom the directory does not know is entered into it (R22, D23)", async () => {
  const page = await person(browser);
  await toSuite(page, zoe);
  await pick(page, zoe);
  assert.ok(await inApplication(page));
  assert.deepEqual([(await claims(page)).username, (await claims(page)).method], [zoe, "suite"]);
});

test("an administrator requires it, but for an exempt user at the address that the page shows (V9, A4, D22)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(ada));
  await enterUsername(page, ada);
  await enterPassword(page, demo.user(ada).password);
  await enterCode(page, codeOf(demo.user(ada).totp_secret, await demo.nextStep(ada, 30)));
  await page.goto(demo.at(ada, "/.zonegate/admin/suite"));
  await page.fill("#form-exempt #username", ada);
  await go(page, "#exempt-add");
  await page.check("#mode-required");
  await go(page, "#apply");
  await look(page, "required");
  const address = await page.inputValue("#address-exempt");
  await page.goto(demo.at(ada, "/.zonegate/admin/users"));
  await look(page, "users");

  const others = await person(browser);
  await others.goto(demo.at(alice));
  await enterUsername(others, alice);
  assert.match(await text(others, "#error"), /requires log-in with AcmeOne/);
  await look(others, "refused");
  await others.goto(address);
  await enterUsername(others, ada);
  await enterPassword(others, demo.user(ada).password);
  await enterCode(others, codeOf(demo.user(ada).totp_secret, await demo.nextStep(ada, 30)));
  assert.ok(await inApplication(others));

  await page.goto(demo.at(ada, "/.zonegate/admin/suite"));
  await page.check("#mode-allowed");
  await go(page, "#apply");
});
