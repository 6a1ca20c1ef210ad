// A WebSocket that comes back: with backoff after a loss, at once after sleep, and never trusting a silent line.

const FIRST_MS = 250;
const MOST_MS = 8_000;
const QUIET_MS = 12_000;
const LOOK_MS = 2_000;

// Close codes after which coming back changes nothing.
const FINAL = new Set([4400, 4401, 4403, 4404]);

export class Link {
  // `opened(link)`, `heard(message)`, `changed(state)`; `beat()` may return what to say to be answered.
  constructor(path, { opened = () => {}, heard, changed = () => {}, beat = () => null }) {
    Object.assign(this, { path, opened, heard, changed, beat, tries: 0, closed: false, heardAt: 0 });
    this.look = setInterval(() => this.check(), LOOK_MS);
    this.wake = () => this.woken();
    window.addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.state = "connecting";
    this.connect();
  }

  get live() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = null;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}`);
    this.socket = socket;
    this.heardAt = Date.now();
    socket.onopen = () => {
      this.tries = 0;
      this.heardAt = Date.now();
      this.become("live");
      this.opened(this);
    };
    socket.onmessage = (message) => {
      this.heardAt = Date.now();
      this.heard(JSON.parse(message.data));
    };
    socket.onclose = (event) => this.lost(socket, event.code);
  }

  lost(socket, code) {
    if (socket !== this.socket || this.closed) return;
    this.socket = null;
    if (FINAL.has(code)) {
      this.become("refused");
      return;
    }
    this.become("reconnecting");
    const wait = Math.min(MOST_MS, FIRST_MS * 2 ** this.tries) * (0.5 + Math.random() / 2);
    this.tries += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  // A line may be dead without anybody having said so: a suspended laptop, a router that forgot.
  check() {
    if (this.closed || !this.socket) return;
    if (Date.now() - this.heardAt > QUIET_MS) this.again();
    else if (this.live) {
      const message = this.beat();
      if (message) this.send(message);
    }
  }

  again() {
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.become("reconnecting");
    this.connect();
  }

  woken() {
    if (this.closed || this.state === "refused" || document.visibilityState === "hidden") return;
    if (this.timer) {
      this.tries = 0;
      this.connect();
    } else {
      this.check();
    }
  }

  send(message) {
    if (this.live) this.socket.send(JSON.stringify(message));
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed(state);
  }

  close() {
    this.closed = true;
    clearInterval(this.look);
    clearTimeout(this.timer);
    window.removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.socket?.close();
  }
}
