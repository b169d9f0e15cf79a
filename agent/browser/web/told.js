// ---- what a pod may tell ----

// The thread of the agent hears everybody, so that nobody may keep it. How fast it is must
// not decide who is ended: a device may be slow, or busy with something else.
//
// Output comes with a ticket for each batch, and a pod gets its ticket back when the batch
// has been heard and that time has passed once more: it waits rather than be ended. Questions
// about storage are answered as late, and its runtime asks no more than MAX_WAITING at a
// time. Whoever keeps to that may tell as much as there is, and takes half of the thread at
// most.
//
// All else is paid for, by its size and by the time that it takes. A runtime needs little of
// that: output of a pack that never takes its tickets, and what is left at the end.
const MAX_WAITING = 64;       // questions of one pod that may wait, as in pod.js
const TICKETS = 16;           // batches of output of one pod that may wait
const OUT_LONGEST = 1 << 20;  // characters of one
const OUT_RATE = 4 * 1024;    // characters a millisecond for which tickets come back
const LEAST_MS = 0.25;        // what anything is taken to need: a clock may be coarse
const AHEAD_MS = 20;          // what is free need not wait for so little
const TOLD_MOST = 64 * 1024 * 1024;
const TOLD_BACK = 8 * 1024;   // a millisecond
const TOLD_TIME = 4 * 1024;   // a millisecond of work for the pod
const TOLD_MESSAGE = 512;
const TOLD_STRANGE = 1024 * 1024; // what no runtime says, of whatever size
const HELD_MORE = 1 << 20;    // bytes of questions and answers, beyond what a pod may keep
const TOLD_LONGEST = 1000;    // milliseconds that one message is blamed for: a device may have slept

// Account is what one pod may still tell. time() gives the milliseconds since some moment
// and those of them in which the thread had nothing to do for anybody who pays.
class Account {
  #purse = TOLD_MOST;
  #filled;
  #due = 0;
  #tickets = new Set();
  #time;

  constructor(time) {
    this.#time = time;
    this.#filled = time();
  }

  // ticket makes one that nobody can guess.
  ticket() {
    const t = crypto.getRandomValues(new Uint32Array(4)).join('-');
    this.#tickets.add(t);
    return t;
  }

  // takes reports whether a ticket was given and not taken yet.
  takes(ticket) { return this.#tickets.delete(ticket); }

  // refill gives back what time brings: twice what a runtime pays at most, if the thread has
  // nothing to do for a quarter of it. Who pays more than can be heard would be paid for
  // that otherwise.
  refill() {
    const now = this.#time();
    this.#purse = Math.min(TOLD_MOST, this.#purse + Math.min(now.at - this.#filled.at, 4 * (now.idle - this.#filled.idle)) * TOLD_BACK);
    this.#filled = now;
  }

  // pays reports whether there was enough for it.
  pays(cost) { return (this.#purse -= cost) >= 0; }

  // paysTime is pays for milliseconds of work.
  paysTime(took) { return this.pays(Math.min(took, TOLD_LONGEST) * TOLD_TIME); }

  // wait gives the milliseconds until a pod gets back what it needs to tell more, after
  // some that took so long and had so many characters.
  wait(took, length) {
    const { at } = this.#time();
    this.#due = Math.max(this.#due, at) + Math.max(Math.min(took, TOLD_LONGEST), LEAST_MS, length / OUT_RATE);
    return this.#due - at;
  }
}

// strange reports whether no runtime asks about storage with such a value.
function strange(v) { return typeof v === 'object' && v !== null && !(v instanceof Uint8Array); }

// weight is the memory of some values, in bytes as far as it may be much: a view has all of
// its buffer with it.
function weight(values) { return values.reduce((sum, v) => sum + (v?.buffer?.byteLength ?? v?.length ?? 0), 0); }
