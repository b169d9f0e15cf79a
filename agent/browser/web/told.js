// ---- what a pod may tell ----

// The thread of the agent hears everybody, each in turn (turns.js). How fast it is must not
// decide who is ended: a device may be slow, or busy with something else.
//
// Output comes with a ticket for each batch, and a pod gets its ticket back when the batch has
// been heard, as often as its rate allows. Questions about storage are answered in turn, and
// its runtime asks no more than MAX_WAITING at a time. Whoever keeps to that may tell as much
// as there is time for.
//
// All else is paid for, by its size, by how much of it waits, and, if no runtime says it, by its
// time. A runtime needs little of
// that: output of a pack that never takes its tickets, and what is left at the end.
const MAX_WAITING = 64;       // questions of one pod that may wait, as in pod.js
const TICKETS = 16;           // batches of output of one pod that may wait
const MOST_UNHEARD = 160;     // messages of one pod that may wait: all these, and what is left at the end
const OUT_LONGEST = 1 << 20;  // characters of one batch
const OUT_RATE = 4 * 1024;    // characters a millisecond for which tickets come back
const TOLD_MOST = 64 * 1024 * 1024;
const TOLD_BACK = 8 * 1024;   // a millisecond
const TOLD_BEHIND = 2 * 1024; // a millisecond, while more waits: what a pack that never yields needs
const TOLD_MESSAGE = 512;
const TOLD_UNHEARD = 256 * 1024;  // what comes while more waits
const TOLD_STRANGE = 1024 * 1024; // what no runtime says, of whatever size,
const TOLD_TIME = 32 * 1024;      // and a millisecond that it takes: more than time brings back, as half of it is rest
const HELD_MORE = 1 << 20;    // bytes that come with questions, beyond what a pod may keep
const STREAMS = ['log', 'stdout', 'stderr'], LINE_HEAD = 13; // bytes before the text of a line: as in controller.go
const encoder = new TextEncoder();

// Account is what one pod may still tell. now() gives milliseconds since some moment.
class Account {
  #purse = TOLD_MOST;
  #filled;
  #due = 0;
  #tickets = new Set();
  #now;

  constructor(now) {
    this.#now = now;
    this.#filled = now();
  }

  // ticket makes one that nobody can guess.
  ticket() {
    const t = crypto.getRandomValues(new Uint32Array(4)).join('-');
    this.#tickets.add(t);
    return t;
  }

  // takes reports whether a ticket was given and not taken yet.
  takes(ticket) { return this.#tickets.delete(ticket); }

  // refill gives back what time brings, which is less while more waits than may.
  refill(behind) {
    const now = this.#now();
    this.#purse = Math.min(TOLD_MOST, this.#purse + (now - this.#filled) * (behind ? TOLD_BEHIND : TOLD_BACK));
    this.#filled = now;
  }

  // pays reports whether there was enough for it.
  pays(cost) { return (this.#purse -= cost) >= 0; }

  // wait gives the milliseconds until a pod gets its ticket back after so many characters.
  wait(length) {
    const now = this.#now();
    this.#due = Math.max(this.#due, now) + length / OUT_RATE;
    return this.#due - now;
  }
}

// asked reports whether a runtime asks about storage so, and with nothing else beside.
function asked(m) {
  const { id, op, args } = m;
  return Number.isSafeInteger(id) && Array.isArray(args) && args.length <= 3 && ![op, ...args].some(strange) && Object.keys(m).length === 4;
}

function strange(v) { return typeof v === 'object' && v !== null && !(v instanceof Uint8Array); }

// weight is the memory of some values, in bytes as far as it may be much: a view has all of
// its buffer with it.
function weight(values) { return values.reduce((sum, v) => sum + (v?.buffer?.byteLength ?? v?.length ?? 0), 0); }

// word takes a text that a pack may have made up. Not all that can be posted can be made
// a text, and what is thrown here the whole tab would be blamed for.
function word(v) { return typeof v === 'string' ? v : ''; }

// parsed gives the object that a text is of, or nothing.
function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}

// packed puts lines together as controller.go takes them apart, which takes less than half of
// what JSON would: for each the number of its stream, its time, the length of its text, and that.
function packed(lines) {
  const texts = lines.map((l) => word(l?.[2]).slice(0, 16 * 1024 + 8)), latest = Date.now();
  const bytes = new Uint8Array(texts.reduce((sum, t) => sum + LINE_HEAD + 3 * t.length, 0)), view = new DataView(bytes.buffer);
  let end = 0;
  lines.forEach((l, i) => {
    const { written } = encoder.encodeInto(texts[i], bytes.subarray(end + LINE_HEAD));
    view.setUint8(end, Math.max(0, STREAMS.indexOf(l?.[0])));
    view.setFloat64(end + 1, past(l?.[1], latest), true);
    view.setUint32(end + 9, written, true);
    end += LINE_HEAD + written;
  });
  return bytes.subarray(0, end);
}

// past takes a time in milliseconds that is not after now.
function past(v, now) { return Number.isFinite(v) && v > 0 && v < now ? v : now; }

// sound takes the outcome that a worker tells, which a pack may have made up.
function sound(o) {
  const known = ['Completed', 'Error', 'PackLoadError', 'Stopped'];
  return {
    reason: known.includes(o?.reason) ? o.reason : 'Error',
    message: word(o?.message).slice(0, 4096),
    code: Number.isInteger(o?.code) ? o.code : undefined,
  };
}
