// Forms: ask before `data-confirm`, show that work is under way, and send `data-enhance` forms without leaving the page. Before any form leaves, the
// server is asked whether the session holds: what was typed must not be lost to a login page or to a server that is away.
// Without scripts the same forms post and redirect, and the server asks for confirmation on a page of its own.
import { swapFrom } from './refresh.js';
import { session, sessionEnded, toLogin } from './session.js';
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
    } else if (form.dataset.ready) {
      delete form.dataset.ready;
      // After this event, or the pressed button's value would not be sent.
      setTimeout(() => busy(form, event.submitter, true));
    } else {
      event.preventDefault();
      leave(form, event.submitter);
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

/** Sends a form the ordinary way once the server has said that it can be. */
async function leave(form, submitter) {
  busy(form, submitter, true);
  const ready = await prepared(form);
  busy(form, submitter, false);
  if (!ready) return unconfirm(form);
  form.dataset.ready = 'yes';
  form.requestSubmit(submitter?.isConnected ? submitter : undefined);
}

/** Whether the form can be sent now; gives it the token that the server will accept. Says why not. */
async function prepared(form) {
  let now;
  try {
    now = await session();
  } catch {
    toast('bad', 'The server could not be reached, so nothing was sent. Try again when the connection is back.');
    return false;
  }
  const page = document.documentElement.dataset;
  if (page.signedIn === 'yes' && now.user !== page.user) {
    if (now.user === null) sessionEnded('Nothing was sent; what you entered here stays.');
    else toast('bad', `Nothing was sent: this page was opened as ${page.user}, and you are logged in as ${now.user} now. Load the page again.`);
    return false;
  }
  if (form.elements.csrf) form.elements.csrf.value = now.csrf;
  return true;
}

function unconfirm(form) {
  delete form.dataset.confirmed;
  form.querySelector('input[name="confirmed"]')?.remove();
}

async function send(form, submitter) {
  busy(form, submitter, true);
  try {
    if (!(await prepared(form))) return;
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
    unconfirm(form);
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
