// Keys: "/" search, "?" the list of keys, "g" and a letter for pages, j and k for rows.
let leading = -Infinity;

function typing(target) {
  return target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function rows() {
  return [...document.querySelectorAll("main tbody tr, main .rows > li")].filter((row) => row.offsetParent !== null);
}

function step(by) {
  const all = rows();
  if (all.length === 0) return;
  const at = all.findIndex((row) => row.classList.contains("current"));
  const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
  all[at]?.classList.remove("current");
  next.classList.add("current");
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("a, input")?.focus({ preventScroll: true });
}

function mark() {
  document.querySelector("main .current input[type=checkbox]")?.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const led = performance.now() - leading < 1500;
  leading = -Infinity;
  if (led) {
    const link = [...document.querySelectorAll("nav [data-key]")].find((a) => a.dataset.key === event.key);
    if (link) {
      event.preventDefault();
      link.click();
    }
    return;
  }
  const acts = {
    "/": () => document.getElementById("search")?.focus(),
    "?": () => document.getElementById("keys")?.showModal(),
    g: () => (leading = performance.now()),
    j: () => step(1),
    k: () => step(-1),
    x: mark,
  };
  const act = acts[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
