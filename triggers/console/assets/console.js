// The console's only script. Without it every page can be read and every form
// sent; with it pages follow what happens, the plan opens as a dialog, and no
// button counts twice.
"use strict";

// --- Follow what happens: an event says that something has changed, the page is
// asked for once more, and the parts that differ are put in place.

// bare is an address of ours without a name and password, which a bookmark may have.
const bare = address => { const url = new URL(address, location); return location.origin + url.pathname + url.search; };

const away = document.getElementById("away");
const say = document.getElementById("say");
let looking = false, again = false, rest = 0;

async function look() {
  if (looking) { again = true; return; }
  looking = true;
  again = false;
  const began = performance.now();
  try {
    const answer = await fetch(bare(location), { headers: { Accept: "text/html" }, redirect: "error" });
    if (answer.status >= 500) throw new Error(String(answer.status));
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    away.hidden = true;
  } catch {
    away.hidden = false;
    again = true;
  }
  // A page that is dear to make is asked for less often.
  rest = Math.min(15000, Math.max(400, 4 * (performance.now() - began)));
  if (!away.hidden) rest = Math.max(rest, 1000);
  setTimeout(() => { looking = false; if (again) look(); }, rest);
}

function take(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (!now || now.dataset.live === part.dataset.live) continue;
    const kept = keep(part);
    part.replaceWith(now);
    restore(kept);
    if ("say" in now.dataset) say.textContent = now.textContent.replace(/\s+/g, " ").trim();
  }
  const title = fresh.querySelector("title");
  if (title) document.title = title.textContent;
  // What follows no more events has ended.
  if (!fresh.body.dataset.events) {
    delete document.body.dataset.events;
    source?.close();
    source = null;
  }
  if (!fresh.body.dataset.every) delete document.body.dataset.every;
  tick();
}

// What people have opened and written stays, wherever it has an id.
function keep(part) {
  const focus = part.contains(document.activeElement) ? document.activeElement : null;
  return {
    open: [...part.querySelectorAll("details[id][open]")].map(d => d.id),
    text: [...part.querySelectorAll("input[id], textarea[id]")].map(i => [i.id, i.value, i.checked]),
    focus: focus && (focus.id ? "#" + CSS.escape(focus.id) : where(focus)),
    from: focus && focus.selectionStart, to: focus && focus.selectionEnd,
  };
}

// where finds the same link or button in the part that comes.
function where(element) {
  if (element.matches("a[href]")) return 'a[href="' + CSS.escape(element.getAttribute("href")) + '"]';
  const drop = element.closest("details[id]");
  return drop && element.tagName === "SUMMARY" ? "#" + CSS.escape(drop.id) + " > summary" : null;
}

function restore(kept) {
  for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, value, checked] of kept.text) {
    const input = document.getElementById(id);
    if (input) { input.value = value; input.checked = checked; }
  }
  const focus = kept.focus && document.querySelector(kept.focus);
  if (focus) {
    focus.focus({ preventScroll: true });
    if (focus.setSelectionRange && kept.from != null) focus.setSelectionRange(kept.from, kept.to);
  }
}

let source = null;
function follow() {
  const events = document.body.dataset.events;
  if (!events) return;
  source = new EventSource(bare(events));
  source.onopen = look; // whatever happened while nobody listened
  source.addEventListener("recovery", look);
  source.addEventListener("service", look);
  source.onerror = () => {
    // A stream that was refused, or that has said everything, is not opened again by the browser.
    if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(follow, 2000); }
    look();
  };
}
follow();
const follows = () => !document.hidden && (document.body.dataset.events || document.body.dataset.every);
document.addEventListener("visibilitychange", () => { if (follows()) look(); });
if (document.body.dataset.every) setInterval(() => { if (follows() && document.body.dataset.every) look(); }, 1000 * document.body.dataset.every);

// --- Seconds that run.

function span(seconds) {
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s";
  return Math.floor(seconds / 3600) + " h " + Math.floor(seconds / 60 % 60) + " min";
}
function tick() {
  for (const since of document.querySelectorAll("[data-since]")) since.textContent = span(Math.max(0, (Date.now() - since.dataset.since) / 1000));
}
setInterval(tick, 500);
tick();

// --- The plan as a dialog. The link leads to the same as a page.

const dialog = document.getElementById("dialog");
document.addEventListener("click", async event => {
  const link = event.target.closest("a[data-dialog]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    if (!dialog.open) {
      dialog.textContent = "Asking each standby …";
      dialog.showModal();
    }
    dialog.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(bare(link.href), { headers: { Accept: "text/html" } });
      const sheet = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-sheet]");
      if (!sheet) throw new Error("no plan");
      dialog.replaceChildren(sheet);
      dialog.querySelector("[autofocus]")?.focus();
    } catch {
      location.href = link.href;
    }
    dialog.removeAttribute("aria-busy");
    return;
  }
  if (event.target.closest("[data-close]") && dialog.open) {
    event.preventDefault();
    dialog.close();
    return;
  }
  // One open menu is enough.
  for (const menu of document.querySelectorAll("details.drop[open]")) if (!menu.contains(event.target)) menu.removeAttribute("open");
});
document.addEventListener("keydown", event => {
  if (event.key !== "Escape" || dialog.open) return;
  const menu = document.activeElement?.closest("details.drop[open]");
  if (menu) { menu.removeAttribute("open"); menu.querySelector("summary").focus(); }
});

// --- A form is sent once. Its key makes sure of that on the other side as well.

document.addEventListener("submit", event => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; });
});
addEventListener("pageshow", event => {
  if (event.persisted) location.reload(); // what the browser kept is old, and its keys are used
});
