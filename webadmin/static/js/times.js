// <time> in the reader's own time zone; those of class "ago" count on.
const language = document.documentElement.lang;
const full = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

export function ago(seconds) {
  const [unit, length] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? STEPS.at(-1);
  return relative.format(-Math.trunc(seconds / length), unit);
}

export function localTimes(root = document) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = Date.parse(element.dateTime);
    if (Number.isNaN(at)) continue;
    const text = full.format(at);
    const shown = element.classList.contains("ago") ? ago((now - at) / 1000) : text;
    if (element.textContent !== shown) element.textContent = shown;
    if (element.title !== text) element.title = text;
  }
}

localTimes();
document.addEventListener("htmx:afterSwap", () => localTimes());
setInterval(() => {
  if (!document.hidden) localTimes();
}, 10_000);
