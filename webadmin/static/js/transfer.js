// A file on its way to the server in parts. Each part is sent from where the server says it is; a cut is waited out.
export const headers = JSON.parse(document.body.getAttribute("hx-headers") || "{}");
const PAUSES = [1000, 2000, 4000, 8000];
const AGAIN = [408, 409, 429, 500, 502, 503, 504];
const SILENCE = 45_000;
const STEPS = [["B", 1], ["kB", 1e3], ["MB", 1e6], ["GB", 1e9], ["TB", 1e12]];

// Bytes as webadmin/words.py writes them.
export function size(count) {
  const [unit, scale] = STEPS.findLast(([, step]) => count >= step) ?? STEPS[0];
  const number = count / scale;
  return `${number.toFixed(unit === "B" || number >= 100 ? 0 : 1)} ${unit}`;
}

export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function fill(text, parts) {
  return text.replace(/\{(\w+)\}/g, (_, name) => parts[name] ?? "");
}

// What the server refuses: `view` is its problem, in words.
export class Refused extends Error {
  constructor(status, view) {
    super(view?.why ?? view?.what ?? `HTTP ${status}`);
    this.status = status;
  }
}

export async function ask(method, path, body) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { ...headers, "Content-Type": "application/json" } };
  const answer = await fetch(`/api/v1${path}`, { method, headers, ...sent });
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, told);
  return told;
}

// What passes in the last seconds, for a rate that neither jumps nor lags.
class Rate {
  marks = [];

  add(bytes) {
    const now = performance.now();
    this.marks.push([now, bytes]);
    while (this.marks.length > 2 && now - this.marks[0][0] > 5000) this.marks.shift();
  }

  perSecond() {
    const [first, last] = [this.marks[0], this.marks.at(-1)];
    return first && last[0] > first[0] ? Math.max(0, ((last[1] - first[1]) * 1000) / (last[0] - first[0])) : 0;
  }
}

export class Transfer {
  // `tell({bytes, rate, waits, checking})` hears how it goes. `part` bytes are sent at once.
  constructor(file, upload, tell, part = 8 << 20) {
    this.file = file;
    this.upload = upload;
    this.tell = tell;
    this.part = part;
    this.rate = new Rate();
    this.stopped = false;
  }

  stop() {
    this.stopped = true;
    this.request?.abort();
    this.wake?.();
  }

  // The file of the store, or null where it was stopped.
  async run() {
    let failed = 0;
    let offset = this.upload.offset;
    while (!this.stopped) {
      try {
        if (failed) offset = (await ask("GET", `/uploads/${this.upload.id}`)).offset;
        while (offset < this.file.size && !this.stopped) {
          offset = await this.send(offset);
          failed = 0;
        }
        if (this.stopped) break;
        this.tell({ bytes: offset, checking: true });
        return await ask("POST", `/uploads/${this.upload.id}/finish`);
      } catch (error) {
        if (this.stopped) break;
        if (error instanceof Refused && !AGAIN.includes(error.status)) throw error;
        const pause = PAUSES[Math.min(failed, PAUSES.length - 1)];
        failed += 1;
        this.rate = new Rate();
        this.tell({ bytes: offset, waits: pause / 1000 });
        await this.rest(pause);
      }
    }
    return null;
  }

  rest(pause) {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, pause);
      addEventListener("online", resolve, { once: true });
    });
  }

  // One part; resolves to the offset after it.
  send(offset) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.request = request;
      request.open("PATCH", `/api/v1/uploads/${this.upload.id}?offset=${offset}`);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      // A connection on which nothing moves is as good as cut; the browser itself would wait for many minutes.
      let silent = setTimeout(() => request.abort(), SILENCE);
      request.onloadend = () => clearTimeout(silent);
      request.upload.onprogress = (event) => {
        clearTimeout(silent);
        silent = setTimeout(() => request.abort(), SILENCE);
        this.rate.add(offset + event.loaded);
        this.tell({ bytes: offset + event.loaded, rate: this.rate.perSecond() });
      };
      request.onload = () =>
        request.status === 200 ? resolve(request.response.offset) : reject(new Refused(request.status, request.response));
      request.onerror = request.onabort = request.ontimeout = () => reject(new Error("cut"));
      request.send(this.file.slice(offset, offset + this.part));
    });
  }
}
