// The user menu and the launcher, for the pages of an application behind the gateway:
//
//   <script src="/.zonegate/assets/menu.js" defer></script>
//
// It asks once who is logged in and shows it where the page has a <zonegate-menu>, else at the top right. Nothing is shown
// and nothing is thrown when it is not told: a page must not suffer from its menu. No inline code or style and no markup
// from text, so that it works under `script-src 'self'; style-src 'self'; connect-src 'self'` and with trusted types.
"use strict";
(() => {
  const NAME = "zonegate-menu";
  // Embedded twice: the first one counts.
  if (customElements.get(NAME)) return;

  // Not relative to the page, whose <base> may lead elsewhere.
  const at = (path) => location.origin + "/.zonegate/" + path;
  let told;
  const ask = () => {
    told ??= fetch(at("launcher"), { headers: { accept: "application/json" } }).then((answer) => (answer.ok ? answer.json() : null));
    return told;
  };

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const key of Object.keys(attributes)) element.setAttribute(key, attributes[key]);
    element.append(...children);
    return element;
  };
  const icon = (path) => {
    const [picture, line] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
    picture.setAttribute("viewBox", "0 0 20 20");
    picture.setAttribute("aria-hidden", "true");
    line.setAttribute("d", path);
    picture.append(line);
    return picture;
  };
  const DOTS = [4, 10, 16].flatMap((y) => [4, 10, 16].map((x) => `M${x} ${y}h0`)).join("");
  const DOWN = "M6 8l4 4 4-4";

  const first = (text) => (Array.from(text.trim())[0] ?? "").toUpperCase();
  const initials = (name) => {
    const words = name.trim().split(/\s+/);
    return first(words[0]) + (words.length > 1 ? first(words[words.length - 1]) : "");
  };

  /** A button and the menu that it opens, with `head` above the items (WAI-ARIA's menu button). */
  const menu = (button, label, head, items, kind) => {
    const panel = make("div", { class: `panel ${kind}`, popover: "manual" },
      head, make("div", { class: "items", role: "menu", "aria-label": label }, ...items));
    const box = make("div", { class: "box" }, button, panel);
    const targets = Array.from(panel.querySelectorAll("[role=menuitem]"));
    panel.hidden = true;
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");

    // Below the button and inside the window, whatever the page around it clips or lifts.
    const place = () => {
      const GAP = 8;
      const from = button.getBoundingClientRect();
      const { clientWidth, clientHeight } = document.documentElement;
      const left = Math.max(GAP, Math.min(from.right - panel.offsetWidth, clientWidth - panel.offsetWidth - GAP));
      const above = from.top - GAP - panel.offsetHeight;
      const fits = from.bottom + GAP + panel.offsetHeight <= clientHeight || above < GAP;
      panel.style.left = `${left}px`;
      panel.style.top = `${fits ? from.bottom + GAP : above}px`;
    };
    const elsewhere = (event) => {
      if (!event.composedPath().includes(box)) close();
    };
    const open = (target) => {
      panel.hidden = false;
      panel.showPopover?.();
      place();
      button.setAttribute("aria-expanded", "true");
      document.addEventListener("pointerdown", elsewhere, true);
      window.addEventListener("resize", place);
      window.addEventListener("scroll", place, { capture: true, passive: true });
      target?.focus({ preventScroll: true });
    };
    const close = () => {
      if (panel.hidden) return;
      panel.hidePopover?.();
      panel.hidden = true;
      button.setAttribute("aria-expanded", "false");
      document.removeEventListener("pointerdown", elsewhere, true);
      window.removeEventListener("resize", place);
      window.removeEventListener("scroll", place, { capture: true });
    };

    button.addEventListener("click", () => (panel.hidden ? open(targets[0]) : close()));
    // The focus goes to nothing when a pointer is pressed in the menu, and when Tab leaves the page: only the latter closes.
    let tabbed = false;
    box.addEventListener("pointerdown", () => (tabbed = false));
    box.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget ? !box.contains(relatedTarget) : tabbed) close();
      tabbed = false;
    });
    box.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const [here, last] = [targets.indexOf(event.target), targets.length - 1];
      const to = {
        ArrowDown: here < last ? here + 1 : 0,
        ArrowUp: here > 0 ? here - 1 : last,
        Home: 0,
        End: last,
      };
      [to.ArrowRight, to.ArrowLeft] = [to.ArrowDown, to.ArrowUp];
      if (event.key === "Escape" && !panel.hidden) {
        close();
        button.focus();
      } else if (!panel.hidden && event.key in to) {
        targets[to[event.key]].focus();
      } else if (panel.hidden && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        open(targets[to[event.key]]);
      } else if (here >= 0 && event.key === " " && targets[here].localName === "a") {
        targets[here].click();
      } else {
        tabbed = event.key === "Tab";
        return;
      }
      // Was for the menu: the page's own dialog stays open, and its list stands still.
      event.preventDefault();
      event.stopPropagation();
    });
    return box;
  };

  const item = (href, attributes, ...children) => make("a", { href, role: "menuitem", ...attributes }, ...children);
  const mark = (text) => make("span", { class: "mark", "aria-hidden": "true" }, first(text));

  /** Where the suite's modules are; after another log-in, or where there are none, only the way to the suite. */
  const launcher = ({ suite, modules, labels }) => {
    if (!suite) return [];
    if (modules.length > 0) {
      const button = make("button", { type: "button", class: "round", id: "launcher", "aria-label": labels.modules, title: labels.modules }, icon(DOTS));
      const tiles = modules.map(({ url, name }) => item(url, { class: "tile" }, mark(name), make("span", {}, name)));
      const home = suite.url ? [item(suite.url, { class: "home", id: "suite-home" }, labels.suite)] : [];
      return [menu(button, labels.modules, make("p", { class: "head" }, make("strong", {}, suite.name)), [...tiles, ...home], "modules")];
    }
    return suite.url ? [make("a", { class: "who suite", id: "suite-home", href: suite.url, title: labels.suite }, mark(suite.name), make("span", { class: "name" }, suite.name))] : [];
  };

  const account = ({ user, labels, account_url, logout_url }) => {
    const name = user.name || user.username;
    const button = make("button", { type: "button", class: "who", id: "user-menu" },
      make("span", { class: "face", "aria-hidden": "true" }, initials(name)), make("span", { class: "name", id: "user-name" }, name), icon(DOWN));
    const head = make("p", { class: "head" }, make("strong", {}, name), make("span", { id: "user-username" }, user.username));
    // A form that posts and no link: what prefetches pages must log nobody out.
    const logOut = make("form", { method: "post", action: logout_url, role: "none" },
      make("button", { type: "submit", role: "menuitem", class: "row", id: "log-out" }, labels.logout));
    return menu(button, labels.menu, head, [item(account_url, { class: "row", id: "my-settings" }, labels.account), logOut], "account");
  };

  let floating = null;
  const show = (element, answer) => {
    if (!answer || element.shadowRoot) return;
    const root = make("div", { class: element === floating ? "root floating" : "root", role: "navigation", lang: answer.language, "aria-label": answer.labels.menu },
      ...launcher(answer), account(answer));
    const look = make("link", { rel: "stylesheet", href: at("assets/menu.css") });
    // Not before it looks as it should. Until then there is what the page has put into its place.
    const before = make("slot", {});
    look.addEventListener("load", () => before.replaceWith(root), { once: true });
    element.attachShadow({ mode: "open" }).append(look, before);
  };

  customElements.define(NAME, class extends HTMLElement {
    connectedCallback() {
      // A page that makes its place for the menu later gets it there, and not twice.
      if (this !== floating) floating?.remove();
      ask().then((answer) => show(this, answer)).catch(() => {});
    }
  });

  const begin = () => {
    // A page in a frame of another one has that one's menu above it.
    if (window.top !== window || document.querySelector(NAME)) return;
    floating = document.createElement(NAME);
    document.body.append(floating);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin, { once: true });
  else begin();
})();
