// Single sign-on at the demo's sample provider: U22, U23, R97 to R102, R118.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, enterPassword, enterUsername, go, inApplication, launch, logOut, look, person, text } from "./lib/browser.js";
import { Demo } from "./lib/demo.js";
import { codeOf } from "./lib/totp.js";

let demo, browser;
before(async () => { [demo, browser] = await Promise.all([Demo.start(), launch()]); });
after(async () => { await browser?.close(); await demo?.stop(); });

const nora = "nora@cedar.example";
const omar = "omar@cedar.example";
const frank = "frank@bolt.example";
const rita = "rita@cedar.example";
const kim = "kim@cedar.example";

const atProvider = (page) => new URL(page.url()).hostname === "id.localhost";

/** Says at the provider who one is. */
async function pick(page, username) {
  assert.ok(atProvider(page), page.url());
  await go(page, `#people button:has-text("${username}")`);
}

/** What the application was told of who is asking. */
function claims(page) {
  return page.evaluate(async () => {
    const answer = await fetch("/echo", { headers: { accept: "application/json" } });
    return (await answer.json()).assertion.claims;
  });
}

test("username, provider, home; and no click at the second log-in (U22, R38, R97, R98)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(nora, "/tickets/1042?view=full"));
  await enterUsername(page, nora);
  assert.ok(atProvider(page), page.url());
  assert.match(await text(page, "#sample"), /believes anybody/);
  await look(page, "provider");
  await pick(page, nora);
  assert.ok(await inApplication(page));
  assert.equal(await text(page, "#address"), "/tickets/1042?view=full", "back to where it was going (U32)");
  const told = await claims(page);
  assert.deepEqual([told.username, told.tenant, told.method], [nora, "cedar", "sso"]);
  await page.goto(demo.at(nora));
  await look(page, "home");

  await page.context().clearCookies({ name: "__Host-zg_session" });
  await page.goto(demo.at(nora));
  assert.ok(await inApplication(page), "the provider and the browser both remember");
  assert.notEqual((await claims(page)).sid, told.sid, "in another session");
});

test("a name that nobody has is sent to the provider like any other (E4)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(nora));
  await enterUsername(page, "ghost@cedar.example");
  assert.ok(atProvider(page), page.url());
});

test("the tile's address, and the provider's own tile, which asks first (R99, D26)", async () => {
  const page = await person(browser);
  await page.goto(demo.user(omar).sso);
  const provider = new URL(page.url()).origin;
  await pick(page, omar);
  assert.ok(await inApplication(page));
  assert.equal((await claims(page)).username, omar);

  await page.context().clearCookies({ name: /^__Host-zg_/ });
  await page.goto(provider);
  await go(page, '#tiles a:has-text("Cedar")');
  assert.ok(!atProvider(page), "asked before anything happens");
  await look(page, "asked");
  await go(page, "#continue");
  assert.ok(await inApplication(page));
});

test("Log Out ends it here and there, and says so (R118)", async () => {
  const page = await person(browser);
  await page.goto(demo.user(nora).sso);
  await pick(page, nora);
  await logOut(page);
  assert.match(await text(page, "#notice"), /You are logged out/);
  assert.ok(!atProvider(page), page.url());
  await look(page, "logged-out");
  await page.goto(demo.user(nora).sso);
  assert.equal(await page.locator("#people").count(), 1, "the provider asks again");
});

test("a log-out at the provider ends the session here (R118)", async () => {
  const page = await person(browser);
  await page.goto(demo.user(nora).sso);
  const provider = new URL(page.url()).origin;
  await pick(page, nora);
  assert.ok(await inApplication(page));
  const elsewhere = await page.context().newPage();
  await elsewhere.goto(provider);
  await go(elsewhere, "#log-out");
  assert.match(await text(elsewhere, "h1"), /You are logged out/);
  const [answer] = await Promise.all([page.waitForNavigation(), page.reload()]);
  assert.ok(answer);
  assert.equal(await inApplication(page), false);
});

test("Cancel at the provider: one neutral page, a reference, a way back (U23, P14)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(nora));
  await enterUsername(page, nora);
  await go(page, "#cancel");
  assert.match(await text(page, "#error"), /did not confirm/);
  assert.match(await text(page, "#reference"), /^\w+/);
  assert.doesNotMatch(await text(page, "main"), /access_denied/);
  await look(page, "cancelled");
  await go(page, "#again");
  await pick(page, nora);
  assert.ok(await inApplication(page));
});

test("somebody whom the provider knows and the directory does not gets no further (R102)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(nora));
  await enterUsername(page, "sam@cedar.example");
  await pick(page, "sam@cedar.example");
  assert.match(await text(page, "#error"), /No account is set up/);
  await look(page, "no-account");
  await go(page, "#back");
  await enterUsername(page, omar);
  await pick(page, omar);
  assert.ok(await inApplication(page), "whoever picked a wrong name is not stuck with it");
});

test("one selected user of a company goes to the provider, from whichever address; others have passwords (R9, R14, R15)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(frank));
  await enterUsername(page, frank);
  await pick(page, frank);
  assert.equal((await claims(page)).username, frank);
  for (const start of [demo.universal, demo.at(nora)]) {
    const other = await person(browser);
    await other.goto(start);
    await enterUsername(other, frank);
    // The link that carries the name to another site may be anybody's.
    assert.equal(await other.locator("#other").count(), 1);
    await go(other, "#continue");
    await pick(other, frank);
    assert.equal(new URL(other.url()).origin, new URL(demo.user(frank).zone).origin);
    assert.ok(await inApplication(other));
  }
  const carol = await person(browser);
  await carol.goto(demo.at(frank));
  await enterUsername(carol, "carol@bolt.example");
  assert.equal(await carol.locator("#password").count(), 1);
});

test("the emergency administrator and a co-managed user keep their passwords, and nobody else has one (R8, D24, D25)", async () => {
  const page = await person(browser);
  await page.goto(demo.at(rita, "/.zonegate/login?with=password"));
  await enterUsername(page, rita);
  await enterPassword(page, demo.user(rita).password);
  await enterCode(page, codeOf(demo.user(rita).totp_secret, await demo.nextStep(rita, 30)));
  assert.ok(await inApplication(page));

  // Chosen at another address, the password page is kept on the way (R14).
  const other = await person(browser);
  await other.goto(new URL("/.zonegate/login?with=password", demo.universal).href);
  await enterUsername(other, kim);
  assert.equal(new URL(other.url()).origin, new URL(demo.user(kim).zone).origin);
  await enterPassword(other, demo.user(kim).password);
  assert.equal(await other.locator("#qr").count(), 1, "the password was right: what follows is the second factor");

  const sso = await person(browser);
  await sso.goto(demo.at(nora, "/.zonegate/login?with=password"));
  await enterUsername(sso, nora);
  await enterPassword(sso, "Wrong-Guess-00");
  assert.match(await text(sso, "#error"), /username or password is incorrect/);
});

for (const [name, options] of [
  ["phone", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
  ["dark", { colorScheme: "dark" }],
]) {
  test(`the pages of single sign-on: ${name}`, async () => {
    const page = await person(browser, options);
    await page.goto(demo.user(nora).sso);
    await look(page, `${name}-provider`);
    await go(page, "#cancel");
    await look(page, `${name}-cancelled`);
    await page.goto(`${demo.user(nora).sso}/initiate`);
    await look(page, `${name}-asked`);
  });
}
