// R32–R35, R63: setting up an authenticator at the first log-in. U1 from P1 on, U13.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, enterPassword, enterUsername, go, inApplication, launch, look, person, readQr, text, upToCode } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";
import { codeOf, wrongCode } from "./lib/totp.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const bob = "bob@acme.example";
const dave = "dave@bolt.example";

test("the first log-in: QR code from the page, a wrong code, the right one, and home (U1, R32-R34)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(bob, "/"));
  await look(page, "username");
  await enterUsername(page, bob);
  await look(page, "password");
  await enterPassword(page, demo.user(bob).password);
  await look(page, "set-up");

  const token = await readQr(page);
  assert.match(token.label, /bob@acme\.example/);
  assert.deepEqual([token.period, token.digits, token.algorithm], [30, 6, "SHA1"]);
  const manual = (await text(page, "#manual-key")).replace(/\s/g, "");
  assert.equal(manual, token.secret, "the key to type is the key in the picture");

  const now = Math.floor(demo.now() / token.period);
  await page.fill("#code", wrongCode(token.secret, now));
  await go(page, "#validate");
  assert.match(await text(page, "#error"), /not valid/);
  await look(page, "set-up-wrong-code");
  assert.equal((await readQr(page)).secret, token.secret, "the same QR code stays (R33)");

  const step = await demo.nextStep(bob, token.period);
  await page.fill("#code", codeOf(token.secret, step));
  await go(page, "#validate");
  await look(page, "set-up-done");
  assert.equal(await inApplication(page), false, "no session before Continue (R34)");
  await go(page, "#continue");
  assert.ok(await inApplication(page));
  assert.equal(await text(page, "#user-name"), "Bob Baker");
  await look(page, "home");

  // The secret that was set up is the one that counts from now on.
  const again = await person(browser);
  await upToCode(again, demo, bob);
  await enterCode(again, codeOf(token.secret, await demo.nextStep(bob, token.period)));
  assert.ok(await inApplication(again));
});

test("a set-up that was abandoned leaves nothing behind: the next log-in offers another key (R35)", async () => {
  const first = await person(browser);
  await upToCode(first, demo, dave);
  const abandoned = await readQr(first);
  const second = await person(browser);
  await upToCode(second, demo, dave);
  const offered = await readQr(second);
  assert.notEqual(offered.secret, abandoned.secret);
  await second.fill("#code", codeOf(abandoned.secret, Math.floor(demo.now() / abandoned.period)));
  await go(second, "#validate");
  assert.match(await text(second, "#error"), /./, "a key that was never validated does not count");
});

test("a 60-second authenticator: a code two steps old is refused, the current one accepted (U13, R63)", async () => {
  const page = await person(browser);
  await upToCode(page, demo, dave);
  const token = await readQr(page);
  assert.equal(token.period, 60);
  const step = Math.floor(demo.now() / 60);
  await page.fill("#code", codeOf(token.secret, step - 2));
  await go(page, "#validate");
  assert.match(await text(page, "#error"), /./);
  await page.fill("#code", codeOf(token.secret, await demo.nextStep(dave, 60)));
  await go(page, "#validate");
  await go(page, "#continue");
  assert.ok(await inApplication(page));
});
