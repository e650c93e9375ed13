// How long it will still take: from how fast it has been lately. What is said must not jump,
// or nobody believes it.
const memories = new Map();
const WINDOW_MS = 60000;
const TRUST = 0.35; // of each new estimate; the rest is what was thought before
const RISE = 1.25; // only a clearly longer time is told as longer

/** Note a state of a job; forget it when it has ended. */
export function note(id, state, now = performance.now()) {
  if (state.status !== 'processing') {
    memories.delete(id);
    return;
  }
  const memory = memories.get(id) ?? { seen: [], end: null, told: null, each: 0 };
  memories.set(id, memory);
  const { seen } = memory;
  if (seen.length && seen.at(-1).progress > state.progress) { // it began again
    seen.length = 0;
    memory.end = null;
    memory.told = null;
  }
  if (seen.length && seen.at(-1).progress === state.progress) return;
  seen.push({ now, progress: state.progress });
  // Enough of the past to even out windows that are quick or slow, not more.
  while (seen.length > 3 && now - seen[0].now > WINDOW_MS) seen.shift();
  const done = state.progress - seen[0].progress;
  const took = now - seen[0].now;
  if (done < 2 || took < 500) return;
  memory.each = took / done;
  const end = now + (100 - state.progress) * memory.each;
  memory.end = memory.end == null ? end : memory.end + TRUST * (end - memory.end);
}

/** Seconds, or null while nothing can be said. */
export function secondsLeft(id, now = performance.now()) {
  const memory = memories.get(id);
  if (memory?.end == null) return null;
  // A step that takes long does not bring the end to "now": half of the rest stays.
  const least = 0.5 * (100 - memory.seen.at(-1).progress) * memory.each;
  const seconds = Math.max(memory.end - now, least) / 1000;
  if (memory.told != null && seconds > memory.told && seconds < RISE * memory.told + 5) return memory.told;
  memory.told = seconds;
  return seconds;
}

/** 130 → "about 2 min left"; "" for null. */
export function leftText(seconds) {
  if (seconds == null) return '';
  if (seconds < 10) return 'a few seconds left';
  if (seconds < 55) return `about ${Math.max(1, Math.round(seconds / 10)) * 10} s left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `about ${Math.max(1, minutes)} min left`;
  return `about ${Math.round(minutes / 60)} h left`;
}

/** "about 2 min left" for a job; "" while nothing can be said. */
export const left = (id, now) => leftText(secondsLeft(id, now));

/** How fast bytes go: add what has been done so far, ask for bytes per second and the rest. */
export function makeMeter(windowMs = 10000) {
  const seen = [];
  return {
    add(done, now = performance.now()) {
      if (seen.length && done < seen.at(-1).done) seen.length = 0;
      if (seen.length && now - seen.at(-1).now < 200) return;
      seen.push({ now, done });
      while (seen.length > 2 && now - seen[0].now > windowMs) seen.shift();
    },
    /** Bytes in a second; null while nothing can be said. */
    rate() {
      const took = seen.length < 2 ? 0 : seen.at(-1).now - seen[0].now;
      const done = took < 1000 ? 0 : seen.at(-1).done - seen[0].done;
      return done > 0 ? (1000 * done) / took : null;
    },
    /** Seconds for so many more bytes; null while nothing can be said. */
    seconds(bytes) {
      const rate = this.rate();
      return rate ? bytes / rate : null;
    },
    reset() {
      seen.length = 0;
    },
  };
}
