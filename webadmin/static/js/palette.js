// Ctrl-K: pages at once, everything with a name from the server while typing.
const dialog = document.getElementById("palette");
const input = document.getElementById("palette-input");
const list = document.getElementById("palette-list");
let chosen = 0;
let asked = 0;
let timer;

function pages(text) {
  return [...document.querySelectorAll("nav#nav a[href^='/']")]
    .map((link) => ({ name: link.textContent.trim(), label: list.dataset.page, about: "", url: link.getAttribute("href") }))
    .filter((page) => page.name.toLowerCase().includes(text.toLowerCase()));
}

function show(hits) {
  chosen = 0;
  list.replaceChildren(
    ...hits.map((hit, number) => {
      const item = document.createElement("li");
      item.id = `hit-${number}`;
      item.setAttribute("role", "option");
      item.dataset.url = hit.url;
      const name = document.createElement("span");
      name.textContent = hit.about ? `${hit.name}  ` : hit.name;
      const about = document.createElement("small");
      about.textContent = hit.about;
      name.append(about);
      const kind = document.createElement("small");
      kind.textContent = hit.label;
      item.append(name, kind);
      return item;
    }),
  );
  if (hits.length === 0) {
    const item = document.createElement("li");
    item.setAttribute("role", "option");
    item.setAttribute("aria-disabled", "true");
    item.textContent = list.dataset.none;
    list.append(item);
  }
  choose(0);
}

function choose(number) {
  const items = [...list.querySelectorAll("[data-url]")];
  chosen = Math.min(Math.max(number, 0), items.length - 1);
  items.forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
  const item = items[chosen];
  if (item) {
    input.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  } else {
    input.removeAttribute("aria-activedescendant");
  }
}

async function search(text) {
  const mine = ++asked;
  show(pages(text));
  if (!text) return;
  try {
    const answer = await fetch(`/search?q=${encodeURIComponent(text)}`, { headers: { Accept: "application/json" } });
    if (!answer.ok || mine !== asked) return;
    const hits = await answer.json();
    if (mine === asked) show([...pages(text), ...hits]);
  } catch {
    // The pages are there all the same.
  }
}

function open() {
  input.value = "";
  show(pages(""));
  dialog.showModal();
  input.focus();
}

function go(item) {
  if (item?.dataset.url) location.assign(item.dataset.url);
}

if (dialog) {
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (dialog.open) dialog.close();
      else open();
    }
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => search(input.value.trim()), 60);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      go(list.querySelector("[aria-selected=true]"));
    }
  });
  list.addEventListener("click", (event) => go(event.target.closest("[data-url]")));
}
