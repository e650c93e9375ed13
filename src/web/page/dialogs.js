// Questions that stand before everything else. <dialog> keeps the focus inside and gives it
// back.
import { openSession } from './api.js';
import { byId, sentence, setText } from './dom.js';

/** Ask yes or no; the safe answer is the first. */
export function confirm({ title, text, yes, no = 'Keep' }) {
  const dialog = byId('confirm');
  setText(byId('confirm-title'), title);
  setText(byId('confirm-text'), text);
  setText(byId('confirm-yes'), yes);
  setText(byId('confirm-no'), no);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Ask for a key until the service takes one; false when the dialog is closed. */
export function askForKey() {
  const dialog = byId('login');
  const form = byId('login-form');
  const input = byId('login-key');
  const problem = byId('login-problem');
  input.value = '';
  setText(problem, '');
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    let accepted = false;
    async function submit(event) {
      event.preventDefault();
      if (!input.value.trim()) return;
      try {
        await openSession(input.value.trim());
        accepted = true;
        dialog.close();
      } catch (error) {
        setText(problem, error.status === 401 ? 'This key is not known, or not valid any more.' : sentence(error.message));
        input.select();
      }
    }
    form.addEventListener('submit', submit);
    dialog.addEventListener('close', () => {
      form.removeEventListener('submit', submit);
      input.value = ''; // a key stays nowhere in the page
      resolve(accepted);
    }, { once: true });
  });
}

export function openHelp() {
  byId('help').showModal();
}

for (const id of ['login', 'help']) {
  byId(`${id}-close`).addEventListener('click', () => byId(id).close());
}
