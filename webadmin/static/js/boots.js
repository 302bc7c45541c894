// Live boots: lines that are changed where they stand. Only what changed is touched, at most once a frame.
import { Live } from "./live.js";

const template = document.getElementById("line");
const stages = JSON.parse(template.dataset.stages);
const labels = JSON.parse(template.dataset.labels);
const diagnoses = JSON.parse(template.dataset.diagnoses); // code -> [[English, ours], ...]
const NAMES = ["asked", "offered", "loader", "script", "kernel", "ramdisk", "system", "reported"];
const MOMENTS = { asked: 0.5, offered: 0.5, script: 0.5, system: 0.5, reported: 1 };
const TONES = { stuck: "fail", moving: "work", waiting: "wait", quiet: "idle", done: "ok" };
const RANKS = { stuck: 0, moving: 1, waiting: 2, quiet: 3, done: 4 };
const lists = { stuck: document.getElementById("stuck"), others: document.getElementById("others") };
const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });

const lines = new Map(); // id -> {row, element, parts, rank}
let pending = null; // {whole, rows: Map, gone: Set, totals}
let skew = 0; // the server's clock minus ours, in seconds

function rate(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let at = 0;
  let value = bytes;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${number.format(value >= 100 || at === 0 ? Math.round(value) : value)} ${units[at]}/s`;
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  const minutes = Math.floor((whole % 3600) / 60);
  return minutes ? `${Math.floor(whole / 3600)} h ${minutes} min` : `${Math.floor(whole / 3600)} h`;
}

function share(row) {
  const part = MOMENTS[row.stage] ?? (row.total ? Math.min(1, row.bytes / row.total) : 0.5);
  return (NAMES.indexOf(row.stage) + part) / NAMES.length;
}

function label(row) {
  return (row.standing === "waiting" && labels[row.what]) || labels[row.step] || stages[NAMES.indexOf(row.stage)];
}

function amount(row) {
  if (!row.total || row.standing !== "moving") return "";
  const percent = `${Math.round((100 * row.bytes) / row.total)} %`;
  return row.rate ? `${percent} · ${rate(row.rate)}` : percent;
}

// As webadmin/diagnoses.py does: the sentence is found again, its facts are put into ours.
function diagnosed(code, text) {
  for (const [english, ours] of diagnoses[code] ?? []) {
    const names = [];
    const source = english.replace(/[\\^$.*+?()[\]|]/g, "\\$&").replace(/\{(\w+)\}/g, (_, name) => {
      names.push(name);
      return "(.*?)";
    });
    const found = new RegExp(`^${source}$`, "s").exec(text);
    if (found) return ours.replace(/\{(\w+)\}/g, (_, name) => found[names.indexOf(name) + 1]);
  }
  return text;
}

function words(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function parts(element) {
  const part = (selector) => element.querySelector(selector);
  return {
    who: part(".who"),
    fill: part(".fill"),
    label: part(".label"),
    amount: part(".amount"),
    age: part(".age"),
    why: part(".why"),
    text: part(".why .text"),
    step: part(".why .step"),
  };
}

function fill(line, row) {
  const { element, parts: part } = line;
  element.className = `boot ${TONES[row.standing]}${element.classList.contains("current") ? " current" : ""}`;
  words(part.who, row.node ?? row.mac);
  part.who.setAttribute("href", `/boots/${encodeURIComponent(row.id)}`);
  part.fill.setAttribute("width", String(Math.round(share(row) * 800)));
  words(part.label, label(row));
  words(part.amount, amount(row));
  part.age.dataset.since = String(row.started);
  words(part.text, diagnosed(row.diagnosis, row.text));
  words(part.step, diagnosed(row.diagnosis, row.next_step));
  part.why.hidden = !row.text;
}

function before(a, b) {
  return a.rank - b.rank || a.row.started - b.row.started || (a.row.id < b.row.id ? -1 : 1);
}

function put(row) {
  let line = lines.get(row.id);
  const fresh = line === undefined;
  if (fresh) {
    const element = template.content.firstElementChild.cloneNode(true);
    element.dataset.id = row.id;
    line = { element, parts: parts(element) };
    lines.set(row.id, line);
  }
  const moved = fresh || line.rank !== RANKS[row.standing];
  line.row = row;
  line.rank = RANKS[row.standing];
  fill(line, row);
  if (moved) place(line);
}

function place(line) {
  const list = line.rank === 0 ? lists.stuck : lists.others;
  // From the end: new machines come last.
  let next = null;
  for (let at = list.lastElementChild; at; at = at.previousElementSibling) {
    if (at === line.element) continue;
    const other = lines.get(at.dataset.id);
    if (other && before(other, line) < 0) break;
    next = at;
  }
  if (line.element.parentElement !== list || line.element.nextElementSibling !== next) list.insertBefore(line.element, next);
}

function drop(id) {
  lines.get(id)?.element.remove();
  lines.delete(id);
}

function count(totals) {
  for (const element of document.querySelectorAll("[data-standing]"))
    words(element, String(totals.standings[element.dataset.standing]));
  for (const element of document.querySelectorAll("[data-stage]"))
    words(element, String(totals.stages[element.dataset.stage] || ""));
  const more = document.getElementById("more");
  const hidden = totals.boots - totals.drawn;
  more.hidden = hidden <= 0;
  words(more, more.dataset.text.replace("{n}", String(hidden)));
  document.getElementById("nothing").hidden = totals.boots > 0;
}

function apply() {
  const { whole, rows, gone, totals } = pending;
  pending = null;
  performance.mark("boots-begin");
  if (whole) for (const id of [...lines.keys()]) if (!rows.has(id)) drop(id);
  for (const id of gone) drop(id);
  for (const row of rows.values()) put(row);
  if (totals) count(totals);
  document.getElementById("stuck-part").hidden = lists.stuck.childElementCount === 0;
  document.getElementById("others-part").hidden = lists.others.childElementCount === 0;
  performance.measure("boots", "boots-begin");
}

function take(message, whole) {
  if (whole || !pending) {
    if (!pending) requestAnimationFrame(apply);
    pending = { whole: whole || pending?.whole, rows: new Map(), gone: new Set(), totals: null };
  }
  for (const id of message.gone) {
    pending.rows.delete(id);
    pending.gone.add(id);
  }
  for (const row of message.rows) {
    pending.gone.delete(row.id);
    pending.rows.set(row.id, row);
    if (row.last) skew = Math.max(skew, row.last - Date.now() / 1000);
  }
  pending.totals = message.totals;
}

function ages() {
  if (document.hidden) return;
  const now = Date.now() / 1000 + skew;
  for (const { row, parts: part } of lines.values()) {
    words(part.age, duration((row.standing === "done" || row.standing === "stuck" ? row.last : now) - row.started));
  }
}

// What the server has drawn is replaced by the first message.
for (const list of Object.values(lists)) {
  for (const element of list.children) {
    lines.set(element.dataset.id, { element, parts: parts(element), rank: -1, row: { started: 0, id: element.dataset.id } });
  }
}
const standing = document.getElementById("standing");
new Live(
  "/boots/stream",
  { board: (message) => take(message, true), change: (message) => take(message, false) },
  (how) => {
    standing.className = how === "open" ? "badge ok" : "badge wait";
    words(standing, how === "open" ? standing.dataset.open : standing.dataset.away);
  },
);
setInterval(ages, 1000);
