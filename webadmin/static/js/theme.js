// The switch of colours: the form behind it does the same without this script.
const ORDER = ["auto", "dark", "light"];

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-theme-switch]");
  if (!form) return;
  event.preventDefault();
  const root = document.documentElement;
  const theme = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
  root.dataset.theme = theme;
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=strict`;
  const button = form.querySelector("button");
  button.title = button.dataset[theme];
  button.setAttribute("aria-label", button.title);
  document.dispatchEvent(new CustomEvent("theme-changed"));
});
