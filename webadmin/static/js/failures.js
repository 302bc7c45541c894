// A request of a part of the page that failed is told at the edge of the page; what was there stays.
export function toast(text, seconds = 8) {
  const holder = document.getElementById("toasts");
  if (!holder || !text) return;
  const note = document.createElement("p");
  note.textContent = text;
  holder.append(note);
  setTimeout(() => note.remove(), seconds * 1000);
}

document.addEventListener("htmx:sendError", (event) => {
  toast(event.detail.elt?.closest("[data-away]")?.dataset.away ?? event.detail.error?.toString());
});
