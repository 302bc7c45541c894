// Machines that have asked since the page was drawn are told of: the list stays as it is while somebody types names.
const note = document.querySelector("[data-machines]");
const shown = new Set([...document.querySelectorAll("table.machines tbody input[name=code]")].map((box) => box.value));

async function look() {
  if (document.hidden || !note) return;
  try {
    const answer = await fetch("/api/v1/machines");
    if (!answer.ok) return;
    const codes = (await answer.json()).map((machine) => machine.code);
    note.hidden = Number(note.dataset.machines) === codes.length && (shown.size < codes.length || codes.every((code) => shown.has(code)));
  } catch {
    // The server is away: the next look tells.
  }
}

setInterval(look, 10_000);
