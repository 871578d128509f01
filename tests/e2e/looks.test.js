// The same pages on a phone, in German, in the dark, without script: pictures to look at, and axe on each.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, enterPassword, enterUsername, inApplication, launch, logIn, look, person, readQr, text, upToCode } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";
import { codeOf } from "./lib/totp.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const alice = "alice@acme.example";
const bob = "bob@acme.example";

const PHONE = {
  viewport: { width: 360, height: 740 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
  userAgent: "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36",
};

async function fits(page, name) {
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `${name} is ${wider} pixels wider than the screen`);
}

for (const [name, options] of [
  ["phone", PHONE],
  ["dark", { colorScheme: "dark" }],
  ["phone-dark", { ...PHONE, colorScheme: "dark" }],
  ["no-script", { javaScriptEnabled: false }],
]) {
  test(`a log-in: ${name}`, async () => {
    const page = await person(browser, options);
    const see = async (what) => {
      // axe itself is script.
      if (options.javaScriptEnabled !== false) await look(page, `${name}-${what}`);
      if (options.viewport) await fits(page, `${name}-${what}`);
    };
    const user = demo.user(alice);
    await page.goto(demo.at(alice));
    await see("username");
    await enterUsername(page, alice);
    await see("password");
    await enterPassword(page, "Wrong-Guess-1");
    await see("wrong-password");
    await enterPassword(page, user.password);
    await see("code");
    await enterCode(page, codeOf(user.totp_secret, await demo.nextStep(alice, 30)));
    // A phone has one slot of its own (R82), so each of these has room.
    if ((await page.locator("#keep-sessions").count()) > 0) {
      await see("limit");
      await Promise.all([page.waitForNavigation(), page.locator("li[id^=session-] button").first().click()]);
    }
    assert.ok(await inApplication(page));
    await see("home");
    await page.goto(demo.at(alice, "/.zonegate/account"));
    await see("account");
  });
}

test("a phone and the dark can read the QR code", async () => {
  const page = await person(browser, { ...PHONE, colorScheme: "dark" });
  await upToCode(page, demo, bob);
  assert.equal((await readQr(page)).period, 30);
  await look(page, "phone-dark-set-up");
  await fits(page, "set-up");
});

test("German: every step, complete", async () => {
  const page = await person(browser, { locale: "de-DE" });
  await page.goto(demo.at(alice, "/?lang=de"));
  assert.equal(await page.getAttribute("html", "lang"), "de");
  await look(page, "de-username");
  await enterUsername(page, alice);
  await look(page, "de-password");
  await enterPassword(page, "Wrong-Guess-1");
  assert.doesNotMatch(await text(page, "body"), /\b(password|incorrect|the username)\b/i, "no English left");
  await look(page, "de-wrong-password");
  await enterPassword(page, demo.user(alice).password);
  await look(page, "de-code");
  const setUp = await person(browser, { locale: "de-DE" });
  await upToCode(setUp, demo, bob);
  await look(setUp, "de-set-up");
});

test("public pages and error pages", async () => {
  const page = await person(browser);
  for (const [name, where, status] of [
    ["hosting", "/.zonegate/hosting", 200],
    ["forgot", "/.zonegate/forgot", 200],
    ["not-found", "/.zonegate/nothing", 404],
  ]) {
    const answer = await page.goto(demo.at(alice, where));
    assert.equal(answer.status(), status, name);
    await look(page, name);
  }
  await logIn(page, demo, "ada@acme.example");
  for (const [name, where] of [["logout-question", "/.zonegate/logout"], ["tickets", "/tickets"], ["ticket", "/tickets/1042"], ["status", "/status"]]) {
    await page.goto(demo.at(alice, where));
    await look(page, name);
  }
});
