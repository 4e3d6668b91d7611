// Forms: ask before `data-confirm`, show that work is under way, and send `data-enhance` forms without leaving the page.
// Without scripts the same forms post and redirect, and the server asks for confirmation on a page of its own.
import { swapFrom } from './refresh.js';
import { toLogin } from './session.js';
import { toast } from './toast.js';

export function startForms() {
  document.addEventListener('submit', (event) => {
    if (event.defaultPrevented) return;
    const form = event.target;
    if (form.dataset.confirm && !form.dataset.confirmed) {
      event.preventDefault();
      ask(form, event.submitter);
      return;
    }
    if (form.method !== 'post') return;
    if (form.dataset.busy) {
      event.preventDefault();
      return;
    }
    if (form.hasAttribute('data-enhance')) {
      event.preventDefault();
      send(form, event.submitter);
    } else {
      // After this event, or the pressed button's value would not be sent.
      setTimeout(() => busy(form, event.submitter, true));
    }
  });
  addEventListener('pageshow', () => {
    for (const form of document.querySelectorAll('form[data-busy]')) busy(form, null, false);
  });
}

function busy(form, submitter, on) {
  if (on) form.dataset.busy = 'yes';
  else delete form.dataset.busy;
  for (const button of form.querySelectorAll('button[type="submit"], button:not([type])')) {
    if (on && button === submitter) button.setAttribute('aria-busy', 'true');
    else button.removeAttribute('aria-busy');
    if (on) button.setAttribute('aria-disabled', 'true');
    else button.removeAttribute('aria-disabled');
  }
}

async function send(form, submitter) {
  busy(form, submitter, true);
  try {
    const body = new URLSearchParams(new FormData(form, submitter));
    const response = await fetch(form.action, { method: 'POST', body, headers: { accept: 'text/html' } });
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    if (new URL(response.url).pathname === '/login') return toLogin();
    if (response.ok) {
      const region = form.closest('[id]')?.id;
      busy(form, submitter, false);
      swapFrom(page);
      // The pressed button may be gone; the next one in its place takes the focus.
      if (region && (!document.activeElement || document.activeElement === document.body)) document.getElementById(region)?.querySelector('button')?.focus();
      for (const flash of page.querySelectorAll('[data-flash]')) toast(flash.dataset.flash, flash.textContent.trim());
      form.dispatchEvent(new CustomEvent('form:done', { bubbles: true }));
    } else {
      const text = page.querySelector('[data-error-text]')?.textContent.trim();
      toast('bad', text || `The server answered ${response.status}.`);
    }
  } catch {
    toast('bad', 'The server could not be reached. Nothing is known about the outcome; look again when the connection is back.');
  } finally {
    busy(form, submitter, false);
    delete form.dataset.confirmed;
    form.querySelector('input[name="confirmed"]')?.remove();
  }
}

function ask(form, submitter) {
  const dialog = document.querySelector('[data-confirm-dialog]');
  dialog.querySelector('[data-title]').textContent = form.dataset.confirmTitle || 'Are you sure?';
  dialog.querySelector('[data-text]').textContent = form.dataset.confirm;
  const yes = dialog.querySelector('[data-yes]');
  yes.textContent = form.dataset.confirmAction || 'Continue';
  yes.classList.toggle('danger', form.hasAttribute('data-danger'));
  yes.classList.toggle('solid', form.hasAttribute('data-danger'));
  yes.classList.toggle('primary', !form.hasAttribute('data-danger'));
  dialog.addEventListener('close', () => {
    if (dialog.returnValue !== 'yes') return;
    form.dataset.confirmed = 'yes';
    const field = document.createElement('input');
    field.type = 'hidden';
    field.name = 'confirmed';
    field.value = '1';
    form.append(field);
    form.requestSubmit(submitter ?? undefined);
  }, { once: true });
  dialog.returnValue = '';
  dialog.showModal();
}
