// Slots, idle limit, log-out: U16, U18, U30, R86, R88, R116.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, go, inApplication, launch, logIn, logOut, look, person, readQr, sessionId, text, upToCode } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";
import { codeOf } from "./lib/totp.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const alice = "alice@acme.example";
const ada = "ada@acme.example";
const carol = "carol@bolt.example";

test("three sessions, and the choice at the fourth with both outcomes (U16, R81, R83, R84, R86)", async () => {
  const three = [];
  for (let count = 0; count < 3; count += 1) {
    const page = await person(browser);
    await logIn(page, demo, alice);
    assert.ok(await inApplication(page));
    three.push(page);
  }
  const ids = await Promise.all(three.map(sessionId));

  const fourth = await person(browser);
  await logIn(fourth, demo, alice);
  assert.equal(await fourth.locator("li[id^=session-]").count(), 3, "three rows");
  await look(fourth, "limit");
  await go(fourth, "#keep-sessions");
  assert.match(await text(fourth, "#notice"), /allowed number of active sessions/);
  assert.equal(await fourth.locator("#username").count(), 1);
  await look(fourth, "limit-kept");
  for (const page of three) {
    await page.reload();
    assert.ok(await inApplication(page), "all three live");
  }

  await three[1].goto(demo.at(alice, "/live"));
  await three[1].waitForFunction(() => document.getElementById("events-state").textContent === "open"
    && document.getElementById("socket-state").textContent === "open");
  await look(three[1], "live");

  await logIn(fourth, demo, alice);
  await go(fourth, `#session-${ids[1]} button`);
  assert.ok(await inApplication(fourth), "in, after ending the second");

  const closed = () => ["events-state", "socket-state"].every((id) => document.getElementById(id).textContent === "closed");
  await three[1].waitForFunction(closed, undefined, { timeout: 2_000 });
  await look(three[1], "live-cut");
  await three[1].goto(demo.at(alice));
  assert.match(await text(three[1], "#notice"), /logged in on another device/);
  await look(three[1], "displaced");
  for (const page of [three[0], three[2]]) {
    await page.reload();
    assert.ok(await inApplication(page), "the others live on");
  }
});

test("the same browser logging in again replaces its session (R88)", async () => {
  const page = await person(browser);
  for (let count = 0; count < 4; count += 1) {
    await page.goto(demo.at(carol, "/.zonegate/login"));
    await logIn(page, demo, carol, "/.zonegate/login", 60);
    assert.ok(await inApplication(page), `log-in ${count + 1} meets no limit`);
  }
});

test("Log Out ends the session, says so, and Back shows nothing (U30, R115, R116)", async () => {
  const page = await person(browser);
  await logIn(page, demo, ada);
  await logOut(page);
  assert.match(await text(page, "#notice"), /You are logged out/);
  await look(page, "logged-out");
  await page.goBack();
  assert.equal(await inApplication(page), false, "no page of the application");
  const cookies = await page.context().cookies(demo.at(ada));
  assert.ok(!cookies.some((cookie) => cookie.name === "__Host-zg_session"), "the cookie is gone");
});

test("7 h 59 min idle is fine, 8 h is not, and the page says why (U18, R89)", async () => {
  const page = await person(browser);
  await logIn(page, demo, ada);
  await demo.advance(8 * 3600 - 60);
  await page.goto(demo.at(ada));
  assert.ok(await inApplication(page), "and the activity counts");
  await demo.advance(8 * 3600);
  await page.goto(demo.at(ada, "/tickets"));
  assert.match(await text(page, "#notice"), /8 hours of inactivity/);
  await look(page, "idle");
  // The slot is free: three new ones fit.
  for (let count = 0; count < 3; count += 1) {
    const next = await person(browser);
    await logIn(next, demo, ada);
    assert.ok(await inApplication(next));
  }
});

test("my sessions: end one elsewhere, and it is told so", async () => {
  const [here, there] = [await person(browser), await person(browser)];
  await demo.advance(9 * 3600);
  await logIn(here, demo, carol, "/", 60);
  await logIn(there, demo, carol, "/", 60);
  const sid = await sessionId(there);
  await here.click("#user-menu");
  await go(here, "#my-settings");
  assert.equal(await text(here, "#my-username"), carol);
  await look(here, "account");
  await go(here, `#session-${sid} button`);
  await look(here, "account-ended");
  await there.goto(demo.at(carol));
  assert.equal(await inApplication(there), false);
  await look(there, "ended-elsewhere");
  await here.goto(demo.at(carol));
  assert.ok(await inApplication(here));
});

test("Enter in the password's field ends no session: which one is the person's to say (SEC-R36)", async () => {
  const [here, there] = [await person(browser), await person(browser)];
  await demo.advance(9 * 3600);
  await logIn(here, demo, carol, "/", 60);
  await logIn(there, demo, carol, "/", 60);
  const sid = await sessionId(there);
  // The proof of who it is has to be older than ten minutes: else no password is asked.
  await demo.advance(15 * 60);
  await here.goto(demo.at(carol, "/.zonegate/account"));
  const form = here.locator("#form-sessions");
  await form.locator("#password").fill(demo.user(carol).password);
  let sent = 0;
  here.on("request", (request) => { sent += Number(request.method() === "POST"); });
  await form.locator("#password").press("Enter");
  await here.waitForTimeout(500);
  assert.equal(sent, 0, "nothing was sent");
  await look(here, "account-enter");
  await there.goto(demo.at(carol));
  assert.ok(await inApplication(there), "and the other session lives");
  await go(here, `#session-${sid} button`);
  assert.match(await text(here, "#notice"), /session was ended/);
});

test("a new QR code asks for password and code again; then the new key counts and the old does not (U29)", async () => {
  const page = await person(browser);
  await demo.advance(9 * 3600);
  await logIn(page, demo, alice);
  await page.goto(demo.at(alice, "/.zonegate/account"));
  await go(page, "#new-qr");
  await look(page, "new-qr-asks");
  const { password, totp_secret: old } = demo.user(alice);
  await page.fill("#password", "Wrong-Guess-1");
  await page.fill("#code", codeOf(old, await demo.nextStep(alice, 30)));
  await go(page, "#verify");
  assert.equal(await page.locator("#qr").count(), 0, "no key without the password");
  assert.match(await text(page, "#error"), /./);
  await page.fill("#password", password);
  await page.fill("#code", codeOf(old, await demo.nextStep(alice, 30)));
  await go(page, "#verify");
  const fresh = await readQr(page);
  await look(page, "new-qr");
  assert.notEqual(fresh.secret, old);
  await page.fill("#code", codeOf(fresh.secret, await demo.nextStep(alice, 30)));
  await go(page, "#validate");
  await look(page, "new-qr-done");

  const next = await person(browser);
  await upToCode(next, demo, alice);
  await enterCode(next, codeOf(old, await demo.nextStep(alice, 30)));
  assert.match(await text(next, "#error"), /authentication code is not valid/, "the old key is worth nothing");
  await enterCode(next, codeOf(fresh.secret, await demo.nextStep(alice, 30)));
  assert.ok(await inApplication(next));
});
