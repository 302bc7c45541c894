// Files are sent with a bar, rate and time left, and the table of files that are here is asked for anew when one is.
import { Refused, Transfer, ask, duration, fill, headers, size } from "./transfer.js";

const card = document.getElementById("send");
const words = JSON.parse(card.dataset.words);
const SHAPES = [
  [/vmlinuz|vmlinux|bzimage|^linux|kernel/i, "kernel"],
  [/initrd|initramfs/i, "initrd"],
  [/squashfs|rootfs/i, "root"],
  [/\.efi$/i, "efi"],
  [/\.ipxe$/i, "script"],
  [/\.(img|raw|qcow2)$/i, "disk"],
];

function roleOf(name) {
  const chosen = document.getElementById("f-send-role").value;
  return chosen || (SHAPES.find(([shape]) => shape.test(name))?.[1] ?? "file");
}

// A line with a bar, a text and a button that stops it.
function way(holder, name, stop) {
  const row = document.createElement("div");
  row.className = "way";
  const head = document.createElement("p");
  head.textContent = name;
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", name);
  const text = document.createElement("small");
  row.append(head, bar, text);
  if (stop) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = words.stop;
    button.onclick = stop;
    row.append(button);
  }
  holder.append(row);
  return {
    row,
    show(share, said, tone = "") {
      if (share === undefined) bar.removeAttribute("value");
      else bar.value = share;
      text.textContent = said;
      row.dataset.tone = tone;
    },
    end(said) {
      bar.remove();
      row.querySelector("button")?.remove();
      text.textContent = said;
      row.dataset.tone = "fail";
      row.setAttribute("role", "alert");
    },
  };
}

function told(file, now) {
  if (now.checking) return words.checking;
  if (now.waits) return fill(words.cut, { time: duration(now.waits) });
  const parts = [fill(words.of, { done: size(now.bytes), all: size(file.size) })];
  if (now.rate > 0) parts.push(`${size(now.rate)}/s`, fill(words.left, { time: duration((file.size - now.bytes) / now.rate) }));
  return parts.join(" · ");
}

async function refresh() {
  const here = document.getElementById("files");
  const answer = await fetch(`/images/-/files?role=${card.dataset.role}`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return;
  const marks = new Map([...here.querySelectorAll("input, select")].map((one) => [one.name + (one.type === "checkbox" ? one.value : ""), one]));
  here.outerHTML = await answer.text();
  for (const one of document.querySelectorAll("#files :is(input, select)")) {
    const old = marks.get(one.name + (one.type === "checkbox" ? one.value : ""));
    if (old?.type === "checkbox") one.checked = old.checked;
    else if (old && one.type !== "radio") one.value = old.value;
  }
}

// The upload that this file was begun as, or a new one.
async function begun(file, sum) {
  const mark = String(file.lastModified);
  const open = (await ask("GET", "/uploads")).find((one) => !one.done && one.name === file.name && one.size === file.size && one.mark === mark);
  if (open) return open;
  const body = { name: file.name, size: file.size, mark, role: card.dataset.role || roleOf(file.name) };
  return ask("POST", "/uploads", sum ? { ...body, sha256: sum } : body);
}

async function send(file, sum) {
  let transfer;
  const line = way(document.getElementById("ways"), file.name, () => transfer?.stop());
  try {
    const upload = await begun(file, sum);
    document.querySelector(`[data-upload="${upload.id}"]`)?.setAttribute("hidden", "");
    transfer = new Transfer(
      file,
      upload,
      (now) => line.show(now.checking ? undefined : now.bytes / file.size, told(file, now), now.waits ? "wait" : ""),
      Number(card.dataset.part) || undefined,
    );
    const done = await transfer.run();
    if (done) line.row.remove();
    else line.end(words.stopped);
  } catch (error) {
    line.end(`${words.wrong}: ${error.message}`);
  }
  await refresh();
}

function take(files) {
  const field = document.getElementById("f-send-sum");
  const sum = files.length === 1 ? field.value.trim().toLowerCase() : "";
  field.value = "";
  for (const file of files) send(file, sum);
}

const chooser = document.getElementById("f-send");
chooser.addEventListener("change", () => {
  take([...chooser.files]);
  chooser.value = "";
});
const zone = card.querySelector(".drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  zone.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take([...event.dataTransfer.files]);
  });
}

// Buttons of the table that take a file away.
document.addEventListener("click", async (event) => {
  const id = event.target.closest("[data-drop]")?.dataset.drop;
  if (!id) return;
  event.preventDefault();
  await ask("DELETE", `/uploads/${id}`).catch(() => null);
  await refresh();
});

// A fetch of the server, told line by line.
const order = document.getElementById("fetch");
order.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(order));
  const name = given.url.split("?")[0].replace(/\/+$/, "").split("/").pop();
  const body = { url: given.url, name, role: given.role, ...(given.sha256 ? { sha256: given.sha256.trim().toLowerCase() } : {}) };
  const line = way(document.getElementById("fetched"), name);
  line.show(undefined, words.fetching);
  try {
    const answer = await fetch("/api/v1/imports", {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Refused(answer.status, await answer.json());
    await follow(answer.body, line);
    line.row.remove();
    order.reset();
  } catch (error) {
    line.end(`${words.wrong}: ${error.message}`);
  }
  await refresh();
});

async function follow(stream, line) {
  let rest = "";
  const began = performance.now();
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const one of lines.filter(Boolean).map((each) => JSON.parse(each))) {
      if (one.problem) throw new Refused(one.problem.status, one.problem);
      if (one.bytes === undefined) continue;
      const rate = (one.bytes * 1000) / (performance.now() - began);
      const known = { size: one.total ?? one.bytes };
      line.show(one.total ? one.bytes / one.total : undefined, told(known, { bytes: one.bytes, rate }));
    }
  }
}
