// Lists with check boxes: one for all in the heading (data-marks-all), ranges with Shift, and a bar (data-marks-bar)
// that is only there while something is marked and says how many (data-marks-count).
let last = null;

function boxes(form) {
  return [...form.querySelectorAll("tbody input[type=checkbox]")];
}

function update(form) {
  const all = boxes(form);
  const marked = all.filter((box) => box.checked).length;
  const whole = form.querySelector("[data-marks-all]");
  if (whole) {
    whole.checked = marked > 0 && marked === all.length;
    whole.indeterminate = marked > 0 && marked < all.length;
  }
  for (const bar of form.querySelectorAll("[data-marks-bar]")) bar.hidden = marked === 0;
  for (const count of form.querySelectorAll("[data-marks-count]")) count.textContent = String(marked);
}

document.addEventListener("click", (event) => {
  const box = event.target.closest("input[type=checkbox]");
  const form = box?.closest("form[data-marks]");
  if (!form) return;
  const all = boxes(form);
  if (box.matches("[data-marks-all]")) {
    for (const one of all) one.checked = box.checked;
  } else if (event.shiftKey && last && all.includes(last)) {
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    for (const one of all.slice(from, to + 1)) one.checked = box.checked;
  }
  last = box;
  update(form);
});

for (const form of document.querySelectorAll("form[data-marks]")) update(form);
document.addEventListener("htmx:afterSwap", () => {
  for (const form of document.querySelectorAll("form[data-marks]")) update(form);
});
