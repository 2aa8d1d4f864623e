// Shows a list of hotels as it is now, for as long as somebody sees it: the service says which ones changed, and the
// list is read again where one of them is shown, now and then where not. Without this script the page stays as it is.
"use strict";
const SOON = 500, OTHERS = 10_000, SLOWLY = 60_000, RETRY = 5_000, ROWS = 50; // milliseconds; rows of a full page
const box = document.getElementById("hotels");
const said = document.getElementById("live");
let stream = null;
let timer = 0;
let due = Infinity;

function say(isLive) {
  const text = isLive ? "● Live: changes appear by themselves." : "○ Not live: load this page again to see what changed.";
  if (said.textContent !== text) said.textContent = text;
}

function readWithin(milliseconds) {
  const at = Date.now() + milliseconds;
  if (at >= due) return;
  due = at;
  clearTimeout(timer);
  timer = setTimeout(read, milliseconds);
}

async function read() {
  due = Infinity;
  if (stream === null) return;
  if (isInUse()) return readWithin(RETRY);
  try {
    const answer = await fetch(box.dataset.again + location.search, { redirect: "error" });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    swap(page.getElementById("hotels"));
  } catch {
    say(false);
  }
  readWithin(SLOWLY);
}

// Somebody marks text in the list: it must not vanish under the hand.
function isInUse() {
  const marked = getSelection();
  return !marked.isCollapsed && box.contains(marked.anchorNode);
}

function swap(fresh) {
  if (fresh.innerHTML === box.innerHTML) return;
  const held = box.contains(document.activeElement) ? document.activeElement.id : "";
  box.replaceChildren(...fresh.childNodes);
  if (held) document.getElementById(held)?.focus({ preventScroll: true });
}

function isShown(id) {
  return document.getElementById(`to-${id}`) !== null;
}

function begin() {
  if (stream !== null || document.hidden) return;
  stream = new EventSource(box.dataset.live);
  stream.addEventListener("open", () => say(true));
  stream.addEventListener("error", () => say(false));
  stream.addEventListener("changed", (event) => {
    say(true);
    const room = box.querySelectorAll("tbody tr").length < ROWS;
    readWithin(room || JSON.parse(event.data).some(isShown) ? SOON : OTHERS);
  });
  readWithin(SLOWLY);
}

// Who does not look costs nothing, and takes none of the few connections that a browser has to one server.
function end() {
  stream?.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return end();
  begin();
  readWithin(0);
});
addEventListener("pagehide", end);
addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
begin();
