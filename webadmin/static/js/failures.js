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

// An answer that is no longer wanted (the next letter was typed, the form was sent) is aborted. htmx calls that an
// error and writes it to the console; it is none.
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  const { xhr } = detail;
  const aborted = xhr.onabort;
  xhr.onabort = (event) => {
    detail.error = "";
    aborted.call(xhr, event);
  };
});
