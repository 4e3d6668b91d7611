// Ctrl+K (or Cmd+K) goes to the search box. Menus made of <details>: close on Escape, on a click elsewhere, and when focus leaves. Theme buttons act at once instead of by a round trip.
export function startMenus() {
  document.addEventListener('keydown', (event) => {
    if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    const box = document.querySelector('[data-shortcut-search]');
    if (!box) return;
    event.preventDefault();
    if (box.checkVisibility()) box.select();
    else location.assign('/search');
    box.focus();
  });
  for (const menu of document.querySelectorAll('details.menu')) {
    const close = () => { menu.open = false; };
    menu.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || !menu.open) return;
      close();
      menu.querySelector('summary').focus();
    });
    menu.addEventListener('focusout', (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) close(); });
    document.addEventListener('click', (event) => { if (!menu.contains(event.target)) close(); });
  }
  document.addEventListener('submit', (event) => {
    const theme = event.target.matches('[data-theme-form]') && event.submitter?.value;
    if (!theme) return;
    event.preventDefault();
    document.documentElement.dataset.theme = theme;
    for (const button of event.target.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button === event.submitter));
    const body = new URLSearchParams(new FormData(event.target, event.submitter));
    fetch(event.target.action, { method: 'POST', body, redirect: 'manual' }).catch(() => {});
    document.dispatchEvent(new CustomEvent('page:theme'));
  });
}
