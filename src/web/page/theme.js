// Light or dark, before anything is painted: a script of the old kind, so that it runs at
// once. Without a choice the system's is followed, also when it changes.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const root = document.documentElement;

  function saved() {
    try {
      return localStorage.getItem('theme');
    } catch {
      return null; // storage may be forbidden
    }
  }

  function apply() {
    const choice = saved();
    root.dataset.theme = choice === 'dark' || choice === 'light' ? choice : dark.matches ? 'dark' : 'light';
    const button = document.getElementById('theme');
    if (button) button.setAttribute('aria-pressed', String(root.dataset.theme === 'dark'));
  }

  apply();
  dark.addEventListener('change', apply);
  document.addEventListener('DOMContentLoaded', apply);
  document.addEventListener('click', (event) => {
    if (!event.target.closest('#theme')) return;
    const wanted = root.dataset.theme === 'dark' ? 'light' : 'dark';
    try {
      // What the system wants anyway needs no memory.
      if (wanted === (dark.matches ? 'dark' : 'light')) localStorage.removeItem('theme');
      else localStorage.setItem('theme', wanted);
      apply();
    } catch {
      root.dataset.theme = wanted;
    }
  });
})();
