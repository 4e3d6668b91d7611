// Short messages at the edge of the page, announced politely. Errors stay until closed; the rest leave after a while unless pointed at.
const STAY_MS = 6000;

const icon = (name) => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `${document.documentElement.dataset.assets}/icons/icons.svg#${name}`);
  svg.append(use);
  return svg;
};

/** Shows a message; `link` of `{href, words}` stands after it and opens in another window. */
export function toast(tone, text, link) {
  const region = document.querySelector('[data-toasts]');
  if (!region) return;
  const notice = document.createElement('div');
  notice.className = `notice ${tone}`;
  const words = document.createElement('div');
  words.textContent = text;
  if (link) words.append(' ', Object.assign(document.createElement('a'), { href: link.href, textContent: link.words, target: '_blank', rel: 'noopener' }));
  const close = document.createElement('button');
  close.type = 'button';
  close.className = 'button ghost small icon-only';
  close.setAttribute('aria-label', 'Close message');
  close.append(icon('close'));
  close.addEventListener('click', () => notice.remove());
  notice.append(icon(tone === 'info' ? 'info' : tone), words, close);
  region.append(notice);
  while (region.children.length > 4) region.firstElementChild.remove();
  if (tone === 'bad') return;
  const leave = () => setTimeout(() => (notice.matches(':hover, :focus-within') ? leave() : notice.remove()), STAY_MS);
  leave();
}
