// The ordinary log-in and what may go wrong with it: U6, U7, U8, U28, U32.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, enterPassword, enterUsername, go, inApplication, launch, logIn, look, person, text, upToCode } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";
import { codeOf, wrongCode } from "./lib/totp.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const alice = "alice@acme.example";
const ada = "ada@acme.example";
const carol = "carol@bolt.example";

test("a wrong code, the right one, and the same again in a second browser (U6, R61, R63)", async () => {
  const page = await person(browser);
  await upToCode(page, demo, alice, "/tickets/1042?view=full");
  await look(page, "code");
  const { totp_secret: secret } = demo.user(alice);
  await enterCode(page, wrongCode(secret, Math.floor(demo.now() / 30)));
  assert.match(await text(page, "#error"), /authentication code is not valid/);
  await look(page, "wrong-code");

  const step = await demo.nextStep(alice, 30);
  await enterCode(page, codeOf(secret, step));
  assert.ok(await inApplication(page));
  assert.equal(await text(page, "#address"), "/tickets/1042?view=full", "back to where it was going (U32)");
  await page.goto(demo.at(alice));
  assert.match(await text(page, "#verdict"), /^Identity verified/);
  await look(page, "home");

  const thief = await person(browser);
  await upToCode(thief, demo, alice);
  await enterCode(thief, codeOf(secret, step));
  assert.match(await text(thief, "#error"), /authentication code is not valid/);
  assert.equal(await inApplication(thief), false);
});

test("Cancel at the code leads back to the start, and nothing was granted", async () => {
  const page = await person(browser);
  await upToCode(page, demo, ada);
  await go(page, "#cancel");
  assert.equal(await page.locator("#username").count(), 1);
  await page.goto(demo.at(ada));
  assert.equal(await inApplication(page), false);
});

test("the universal address leads to the user's own zone with the username kept, never in the address (U7, R14)", async () => {
  const page = await person(browser);
  const seen = [];
  page.on("request", (request) => seen.push(request.url()));
  await page.goto(demo.universal);
  await look(page, "universal");
  await enterUsername(page, carol);
  assert.equal(new URL(page.url()).origin, new URL(demo.user(carol).zone).origin);
  assert.equal(await page.inputValue("#username"), carol, "the username is kept");
  await look(page, "universal-password");
  await enterPassword(page, demo.user(carol).password);
  await enterCode(page, codeOf(demo.user(carol).totp_secret, await demo.nextStep(carol, 60)));
  assert.ok(await inApplication(page));
  for (const address of seen) assert.doesNotMatch(decodeURIComponent(address), /carol/, "no username in any address");
  const cookies = await page.context().cookies(demo.universal);
  assert.ok(!cookies.some((cookie) => /session/.test(cookie.name)), "no session on the universal host");
});

test("the wrong zone forwards to the right one before it asks for the password (U7, R15)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(carol));
  await enterUsername(page, ada);
  assert.equal(new URL(page.url()).origin, new URL(demo.user(ada).zone).origin);
  assert.equal(await page.inputValue("#username"), ada);
  await enterPassword(page, demo.user(ada).password);
  await enterCode(page, codeOf(demo.user(ada).totp_secret, await demo.nextStep(ada, 30)));
  assert.ok(await inApplication(page));
});

test("unknown, inactive and program accounts look like a wrong password, up to the lock (U8, R39, R59)", async () => {
  const shown = [];
  for (const username of ["nobody@acme.example", "ines@acme.example", "robot@acme.example", alice]) {
    const page = await person(browser);
    await page.goto(demo.at(alice));
    await enterUsername(page, username);
    const password = username === "ines@acme.example" ? demo.user(username).password : "Wrong-Guess-00";
    const [answer] = await Promise.all([page.waitForNavigation(), page.fill("#password", password).then(() => page.click("#login"))]);
    shown.push([answer.status(), await text(page, "#error"), Object.keys(answer.headers()).sort().join(" ")]);
    if (username === "nobody@acme.example") await look(page, "wrong-password");
  }
  for (const one of shown) assert.deepEqual(one, shown[0]);
  assert.match(shown[0][1], /username or password is incorrect/);

  const page = await person(browser);
  await page.goto(demo.at(alice));
  await enterUsername(page, "ghost@acme.example");
  for (let guess = 1; guess <= 7; guess += 1) {
    assert.equal(await page.locator("#password").count(), 1, `guess ${guess} is asked for`);
    await enterPassword(page, `Wrong-Guess-${guess}`);
  }
  if (!/locked/.test(await text(page, "#error"))) await enterPassword(page, "Wrong-Guess-8");
  assert.match(await text(page, "#error"), /account is locked/);
  await look(page, "unknown-locked");
});

test("a name that is not username@domain is refused where it stands, and costs nothing (R36)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(alice));
  await page.locator("form").first().evaluate((form) => { form.noValidate = true; });
  await enterUsername(page, "jdoe");
  assert.match(await text(page, "#error"), /username@domain\.com/);
  assert.equal(await page.locator("#password:visible").count(), 0);
  await look(page, "malformed-username");
});

test("password managers: both values at the first prompt, the password again at the second (U28, R41)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(ada));
  const username = page.locator("#username");
  assert.equal(await username.getAttribute("autocomplete"), "username");
  const hidden = page.locator('input[autocomplete="current-password"]');
  assert.equal(await hidden.count(), 1, "a password field for managers that fill both");
  assert.equal(await page.locator("form:has(#username) input[autocomplete=current-password]").count(), 1, "in one form");
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await username.fill(ada);
  await hidden.evaluate((input, value) => { input.value = value; }, demo.user(ada).password);
  await go(page, "#continue");
  for (const address of requests) assert.doesNotMatch(address, /Silver/, "what was filled in too early goes nowhere");

  const password = page.locator("#password");
  assert.equal(await password.getAttribute("autocomplete"), "current-password");
  assert.equal(await password.inputValue(), "", "the early value is ignored");
  const shown = page.locator('input[autocomplete="username"]');
  assert.equal(await shown.inputValue(), ada);
  await enterPassword(page, demo.user(ada).password);
  const code = page.locator("#code");
  assert.equal(await code.getAttribute("autocomplete"), "one-time-code");
  assert.equal(await code.getAttribute("inputmode"), "numeric");
  await enterCode(page, codeOf(demo.user(ada).totp_secret, await demo.nextStep(ada, 30)));
  assert.ok(await inApplication(page));
});

test("a dashboard logs in with its password only (R70)", async () => {
  const page = await person(browser);
  await upToCode(page, demo, "wall@acme.example");
  assert.ok(await inApplication(page));
});

test("a form sent from elsewhere gets nothing (R115, CSRF)", async () => {
  const page = await person(browser);
  await logIn(page, demo, ada);
  const attacker = await page.context().newPage();
  // Another zone is another site here: *.localhost has no common registrable domain with it.
  await attacker.goto(demo.user(carol).zone);
  const target = demo.at(ada, "/.zonegate/logout");
  const [answer] = await Promise.all([
    attacker.waitForNavigation(),
    attacker.evaluate((action) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "post", action });
      document.body.append(form);
      form.submit();
    }, target),
  ]);
  assert.equal(answer.status(), 403);
  await page.goto(demo.at(ada));
  assert.ok(await inApplication(page), "still logged in");
});
