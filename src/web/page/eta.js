// How long it will still take: from how fast the progress has been lately.
const memories = new Map();
const WINDOW_MS = 60000;

/** Note a state of a job; forget it when it has ended. */
export function note(id, state) {
  if (state.status !== 'processing') {
    memories.delete(id);
    return;
  }
  const now = performance.now();
  const seen = memories.get(id) ?? [];
  if (!seen.length || seen.at(-1).progress < state.progress) seen.push({ now, progress: state.progress });
  else if (seen.at(-1).progress > state.progress) seen.length = 0; // it began again
  // Enough of the past to even out windows that are quick or slow, not more.
  while (seen.length > 3 && now - seen[0].now > WINDOW_MS) seen.shift();
  memories.set(id, seen);
}

/** Seconds, or null while nothing can be said. */
export function secondsLeft(id) {
  const seen = memories.get(id);
  if (!seen || seen.length < 2) return null;
  const done = seen.at(-1).progress - seen[0].progress;
  const took = (seen.at(-1).now - seen[0].now) / 1000;
  if (done < 2 || took < 0.5) return null;
  const since = (performance.now() - seen.at(-1).now) / 1000;
  return Math.max(0, ((100 - seen.at(-1).progress) * took) / done - since);
}

/** "about 2 min left"; "" while nothing can be said. */
export function left(id) {
  const seconds = secondsLeft(id);
  if (seconds == null) return '';
  if (seconds < 10) return 'a few seconds left';
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} s left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `about ${Math.max(1, minutes)} min left`;
  return `about ${Math.round(minutes / 60)} h left`;
}
