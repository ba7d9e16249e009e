"use strict";
// Keeps a page fresh: hears that something changed, fetches the page again, and takes over what is
// different. Nodes that stay the same stay in place, so focus, selection and open details do too.

const MIN_PAUSE = 400; // ms between two looks
let source = null;
let timer = null;
let looking = false;
let again = false;

function morph(from, to) {
  if (from.isEqualNode(to)) return;
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
  }
  for (const { name, value } of [...to.attributes]) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  const held = new Map();
  for (const child of from.children) if (child.id) held.set(child.id, child);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const twin = next.id ? held.get(next.id) : at && !at.id ? at : null;
    if (!twin) {
      from.insertBefore(next, at);
      continue;
    }
    if (twin === at) at = at.nextSibling;
    else from.insertBefore(twin, at);
    morph(twin, next);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

// The sentence below an amount follows what is typed; see amounts.py for the rule.
function explain(field) {
  const hint = document.getElementById(`${field.id}-says`);
  const { other } = hint.dataset;
  if (!other) return; // a scenario was chosen for everything
  const typed = /^\s*([0-9]{1,10})(?:\.([0-9]{1,2}))?\s*$/.exec(field.value) ?? ["", "0"];
  const fen = Number(typed[1]) * 100 + Number((typed[2] ?? "").padEnd(2, "0"));
  const named = (option) => Number(option.dataset.number) === fen % 1000;
  const course = [...field.list.options].find(named)?.label ?? other;
  const picked = field.form.elements.scenario?.value; // and explained where it was picked
  hint.textContent = fen && !picked ? `¥${(fen / 100).toFixed(2)} → ${course}` : "";
}

async function fetched(address, options) {
  const response = await fetch(address, { credentials: "same-origin", ...options });
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// The forms of this page may be from before a restart: the new process has another token.
function renew(page) {
  const token = page.querySelector("[name=form_token]")?.value;
  if (!token) return;
  for (const field of document.querySelectorAll("[name=form_token]")) field.value = token;
}

async function look() {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  try {
    const page = await fetched(location.href, {});
    for (const live of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(live.id);
      if (fresh) morph(live, fresh);
    }
    renew(page);
    for (const field of document.querySelectorAll("input[list]")) explain(field);
  } catch {
    // the stream says so too, and comes back by itself
  } finally {
    looking = false;
  }
  if (again) {
    again = false;
    soon();
  }
}

function soon() {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    look();
  }, MIN_PAUSE);
}

function say(connected) {
  const line = document.getElementById("line");
  const text = connected ? line.dataset.liveText : line.dataset.offlineText;
  line.className = connected ? "connected" : "broken";
  if (line.textContent !== text) line.textContent = text;
}

function listen() {
  if (source !== null || !document.querySelector("main [data-live]")) return;
  source = new EventSource("/console/events");
  source.addEventListener("open", () => {
    say(true);
    soon(); // what changed since the page was drawn was told to nobody
  });
  source.addEventListener("error", () => say(false));
  source.addEventListener("changed", soon);
  source.addEventListener("tick", () => {
    if (document.querySelector("[data-waiting]")) soon();
  });
}

// A browser opens six connections to one host; tabs that nobody sees give theirs back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && source !== null) {
    source.close();
    source = null;
  } else if (!document.hidden) {
    listen();
  }
});

// The doctor's form stays as it is filled in; only the verdict is exchanged.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.answer) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form));
  try {
    const page = await fetched(form.action, { method: "POST", body });
    const fresh = page.getElementById(form.dataset.answer);
    if (!fresh) throw new Error("not the page that was expected");
    const place = document.getElementById(form.dataset.answer);
    place.replaceChildren(...fresh.childNodes);
    renew(page);
    place.scrollIntoView({ block: "start" });
  } catch {
    form.submit();
  }
});

document.addEventListener("input", ({ target }) => {
  for (const field of target.form?.querySelectorAll("input[list]") ?? []) explain(field);
});
for (const field of document.querySelectorAll("input[list]")) explain(field);

const said = document.getElementById("said");
if (said) {
  said.focus();
  // A reload should not say it again, nor send a form again.
  const here = new URL(document.querySelector("main").dataset.address ?? "", location.href);
  for (const name of ["said", "message"]) here.searchParams.delete(name);
  history.replaceState(null, "", here);
}
// What was typed counts as typed: it stays when the page is fetched again.
for (const field of document.querySelectorAll("main [aria-invalid]")) field.value = field.value;
listen();
