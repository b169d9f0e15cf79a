// ---- whose turn it is ----

// The thread of the agent is that of its heartbeat, of starts and of stops as well, so that
// what it does for pods, for all of them together, is followed by as long a rest: they have
// half of it at most. The pod that has had least of it comes first; who has not asked for long
// is AHEAD_MS before the others and no more, so that one who asks for little waits for one
// piece of somebody else's work and its rest.
const AHEAD_MS = 20;     // what is small need not rest each time: so much of it is done at once
const LEAST_MS = 0.04;   // what anything is taken to need: a clock may be coarse
const LONGEST_MS = 1000; // one piece of work is blamed for no more: a device may have slept

// Turns shares a thread among lanes, one for each pod. now() gives milliseconds since some
// moment; later(f, ms) calls f after so many.
class Turns {
  #now;
  #later;
  #waiting = new Set(); // lanes with work
  #had = 0;             // what the lane whose turn was last had had before it
  #rested = 0;          // when the rest for all that was done is over
  #held = false;        // a turn or a rest goes on

  constructor(now, later) {
    this.#now = now;
    this.#later = later;
  }

  // lane makes one. Its work is done in the order in which it was added.
  lane() { return { work: [], had: -Infinity }; }

  // add has something done at a turn of the lane, which may be now.
  add(lane, work) {
    if (!lane.work.length) lane.had = Math.max(lane.had, this.#had - AHEAD_MS);
    lane.work.push(work);
    this.#waiting.add(lane);
    if (!this.#held) this.#go();
  }

  #go() {
    this.#held = true;
    while (this.#waiting.size) {
      const rest = this.#rested - this.#now();
      if (rest >= AHEAD_MS) return void this.#later(() => this.#go(), rest);
      this.#turn(this.#first());
    }
    this.#held = false;
  }

  #first() {
    let first;
    for (const lane of this.#waiting) if (!first || lane.had < first.had) first = lane;
    return first;
  }

  #turn(lane) {
    const work = lane.work.shift(), began = this.#now();
    if (!lane.work.length) this.#waiting.delete(lane);
    this.#had = lane.had;
    try { work(); } catch (err) { reportError(err); } // which is not the next one's
    const ended = this.#now(), took = Math.min(LONGEST_MS, Math.max(LEAST_MS, ended - began));
    lane.had += took;
    this.#rested = ended + Math.max(0, this.#rested - began) + took;
  }
}
