// What changes comes as server-sent events; forms are sent without leaving the page, so that it keeps its place.
const live = document.getElementById("live");
const latest = document.getElementById("latest");
const connection = document.getElementById("connection");

function show({ html, latest: sentence }) {
  const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
  const places = [...live.querySelectorAll(".scroll")].map((one) => [one.id, one.scrollLeft]);
  live.innerHTML = html; // made by the simulator's template, which escapes what it shows
  for (const [id, left] of places) {
    const again = document.getElementById(id);
    if (again) again.scrollLeft = left;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (latest.textContent !== sentence) latest.textContent = sentence; // it is read aloud
}

function say(page) {
  const said = page.getElementById("said");
  const here = document.getElementById("said");
  here.className = said.className;
  here.textContent = said.textContent;
}

async function send(event) {
  event.preventDefault();
  const form = event.target;
  const fields = new URLSearchParams(new FormData(form));
  if (event.submitter?.name) fields.append(event.submitter.name, event.submitter.value);
  try {
    const answer = await fetch(form.action, { method: "POST", body: fields });
    say(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    document.getElementById("said").textContent = "The simulator does not answer: nothing was changed.";
  }
}

const stream = new EventSource("/glass-box/live");
stream.onopen = () => { connection.textContent = "This page changes by itself."; };
stream.onerror = () => { connection.textContent = "The simulator does not answer. This page goes on when it does."; };
stream.onmessage = (event) => show(JSON.parse(event.data));
document.addEventListener("submit", send);
