// Live charts over the server's figures, with uPlot. The lines that the server drew stay where this cannot run.
const holder = document.querySelector("[data-figures]");
const EVERY = 5000;
const language = document.documentElement.lang;
const plain = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const charts = [];

const FORMS = {
  count: (value) => plain.format(value),
  size: (value) => {
    const units = ["B", "kB", "MB", "GB"];
    let at = 0;
    let left = value;
    while (left >= 1000 && at < units.length - 1) {
      left /= 1000;
      at += 1;
    }
    return `${plain.format(left)} ${units[at]}/s`;
  },
  seconds: (value) => {
    if (value >= 60) return `${plain.format(value / 60)} min`;
    return value < 1 ? `${Math.round(value * 1000)} ms` : `${plain.format(value)} s`;
  },
};

function lines(figure) {
  const found = [];
  for (let number = 1; figure.getAttribute(`data-line-${number}`); number += 1) {
    const [column, name, tone] = figure.getAttribute(`data-line-${number}`).split("|");
    found.push({ column, name, tone });
  }
  return found;
}

function color(name) {
  // Canvas knows no light-dark(): the browser is asked what a real element gets.
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  holder.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function make(figure, data) {
  const plot = figure.querySelector(".plot");
  const form = FORMS[figure.dataset.unit];
  const shown = lines(figure);
  const faint = color("line");
  const axis = { stroke: color("muted"), grid: { stroke: faint, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const label = plot.querySelector("svg")?.getAttribute("aria-label") ?? plot.dataset.label ?? "";
  plot.dataset.label = label;
  plot.replaceChildren();
  const chart = new uPlot(
    {
      width: plot.clientWidth,
      height: 190,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "figures" } },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [
        { ...axis, space: 70, size: 30, values: (_, at) => at.map((t) => new Date(t * 1000).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" })) },
        { ...axis, size: 72, values: (_, at) => at.map((value) => form(value)) },
      ],
      series: [
        {},
        ...shown.map((line) => ({
          label: line.name,
          stroke: color(line.tone),
          width: 1.5,
          points: { show: figure.dataset.unit === "seconds", size: 4, fill: color(line.tone) },
          spanGaps: false,
        })),
      ],
      hooks: { setCursor: [(self) => legend(figure, self, shown, form)] },
    },
    columns(data, shown),
    plot,
  );
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", label);
  return { figure, chart, shown, form };
}

// A server that has just begun shows its first minutes, not an empty hour.
const LEAST = 40;

function begin(data) {
  const { at, ...others } = data;
  const first = at.findIndex((_, number) => Object.values(others).some((column) => column[number]));
  return Math.max(0, Math.min(first < 0 ? at.length : first - 2, at.length - LEAST));
}

function columns(data, shown) {
  const from = begin(data);
  return [data.at, ...shown.map((line) => data[line.column])].map((column) => column.slice(from));
}

function legend(figure, chart, shown, form) {
  const at = chart.cursor.idx;
  figure.querySelectorAll(".legend b").forEach((element, number) => {
    const column = chart.data[number + 1];
    let value = at == null ? null : column[at];
    if (at == null) for (let back = column.length - 1; back >= column.length - 20 && value == null; back -= 1) value = column[back];
    const text = value == null ? "–" : form(value);
    if (element.textContent !== text) element.textContent = text;
  });
}

async function update() {
  if (document.hidden) return;
  try {
    const answer = await fetch(holder.dataset.figures);
    if (!answer.ok) return;
    const data = await answer.json();
    if (charts.length === 0) {
      for (const figure of holder.querySelectorAll("figure")) charts.push(make(figure, data));
    } else {
      for (const { chart, shown } of charts) chart.setData(columns(data, shown));
    }
    for (const { figure, chart, shown, form } of charts) legend(figure, chart, shown, form);
  } catch {
    // The next try comes soon; what is drawn stays.
  }
}

if (holder) {
  update();
  setInterval(update, EVERY);
  const resized = new ResizeObserver(() => {
    for (const { chart, figure } of charts) {
      const width = figure.querySelector(".plot").clientWidth;
      if (Math.abs(chart.width - width) > 1) chart.setSize({ width, height: 190 });
    }
  });
  for (const plot of holder.querySelectorAll(".plot")) resized.observe(plot);
  const again = () => {
    for (const { chart } of charts) chart.destroy();
    charts.length = 0;
    update();
  };
  document.addEventListener("theme-changed", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}
