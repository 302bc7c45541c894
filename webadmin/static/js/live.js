// One stream of server-sent events that comes back by itself, after the last event that was seen. The browser sends
// Last-Event-ID on its own when it reconnects; only where it gives up is the stream opened anew here.
const PAUSES = [1000, 2000, 5000, 10_000];

export class Live {
  // `handlers`: event name -> function(data). `standing` is told "open" or "away".
  constructor(url, handlers, standing = () => {}) {
    this.url = url;
    this.handlers = handlers;
    this.standing = standing;
    this.last = "";
    this.failed = 0;
    this.open();
    // A page in the back is not kept up to date: it costs the server and the battery for nothing.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.timer = setTimeout(() => this.close(), 60_000);
      else {
        clearTimeout(this.timer);
        if (!this.source) this.open();
      }
    });
    addEventListener("pagehide", () => this.close());
  }

  open() {
    const url = new URL(this.url, location.href);
    if (this.last) url.searchParams.set("since", this.last);
    const source = new EventSource(url);
    this.source = source;
    source.onopen = () => {
      this.failed = 0;
      this.standing("open");
    };
    source.onerror = () => {
      this.standing("away");
      if (source.readyState !== EventSource.CLOSED || source !== this.source) return;
      this.source = null;
      this.again = setTimeout(() => this.open(), PAUSES[Math.min(this.failed++, PAUSES.length - 1)]);
    };
    for (const [name, handle] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.last = event.lastEventId;
        handle(JSON.parse(event.data));
      });
    }
  }

  close() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }
}
