// Thirty-two callers that never stop: GET and POST in turns, until standard input ends; then how often each status came.
//
// CLOUDBEDS_URL and CLOUDBEDS_TOKEN say where and with which credential, as in docs/clients.md.
import { createInterface } from "node:readline";
import axios from "axios";

const CALLERS = 32;
const cloudbeds = axios.create({
  baseURL: process.env.CLOUDBEDS_URL,
  headers: { Authorization: `Bearer ${process.env.CLOUDBEDS_TOKEN}` },
  validateStatus: () => true,
});
const statuses = {};
let answered = 0;
let running = true;

createInterface({ input: process.stdin }).on("close", () => {
  running = false;
});

async function caller(number) {
  for (let at = number; running; at += 1) {
    const answer =
      at % 2 === 0
        ? await cloudbeds.get("/api/v1.3/getHotels")
        : await cloudbeds.post("/api/v1.3/echo/note", new URLSearchParams({ note: `from ${number}` }));
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    answered += 1;
    if (answered % 100 === 0) console.log(`answered ${answered}`);
  }
}

await Promise.all(Array.from({ length: CALLERS }, (_, number) => caller(number)));
console.log(`statuses ${JSON.stringify(statuses)}`);
