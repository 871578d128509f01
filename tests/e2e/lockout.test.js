// R52-R59: seven failures lock, nothing but an operator unlocks, and the old password works again. U9.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterPassword, enterUsername, inApplication, launch, logIn, look, person, text } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const alice = "alice@acme.example";

test("seven wrong passwords lock; the right one does not open; time does not either; unlocking does (U9)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(alice));
  await enterUsername(page, alice);
  for (let guess = 1; guess <= 7; guess += 1) {
    assert.equal(await page.locator("#password").count(), 1, `guess ${guess} is asked for`);
    await enterPassword(page, `Wrong-Guess-${guess}`);
    if (guess < 7) assert.match(await text(page, "#error"), /username or password is incorrect/, `guess ${guess}`);
  }

  const tryRight = async (name) => {
    const browserOfOwner = await person(browser);
    await browserOfOwner.goto(demo.at(alice));
    await enterUsername(browserOfOwner, alice);
    await enterPassword(browserOfOwner, demo.user(alice).password);
    assert.match(await text(browserOfOwner, "#error"), /account is locked/, name);
    await look(browserOfOwner, name);
  };
  await tryRight("locked");
  await demo.advance(24 * 3600);
  await tryRight("still-locked-a-day-later");

  await demo.command(["user", "unlock", alice]);
  const again = await person(browser);
  await logIn(again, demo, alice);
  assert.ok(await inApplication(again), "the old password works (R56)");
});
