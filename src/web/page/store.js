// What the browser remembers for this page. It may forbid that; then nothing is remembered.

export function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    if (value == null || value === '') localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch { /* not remembered */ }
}

/** The names of all that is remembered and begins so. */
export function remembered(prefix) {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  } catch {
    return [];
  }
}
