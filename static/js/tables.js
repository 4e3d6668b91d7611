// Tables marked `sortable` get sort buttons in their heads (sorting itself: sortable-tablesort). `input[data-filter="<id>"]` hides rows that do not
// hold every word; `button[data-filter-key][data-filter-value]` inside `[data-chips="<id>"]` filter by the row's data-<key>.
import '../vendor/sortable/sortable.min.js';

export function startTables() {
  for (const head of document.querySelectorAll('table.sortable thead th:not(.no-sort)')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'sort';
    button.append(...head.childNodes);
    head.append(button);
  }
  for (const input of document.querySelectorAll('input[data-filter]')) {
    input.addEventListener('input', () => applyFilter(input.dataset.filter));
    input.form?.addEventListener('submit', (event) => event.preventDefault());
    if (input.value) applyFilter(input.dataset.filter);
  }
  for (const chips of document.querySelectorAll('[data-chips]')) {
    chips.addEventListener('click', (event) => {
      const chip = event.target.closest('button[aria-pressed]');
      if (!chip) return;
      chip.setAttribute('aria-pressed', String(chip.getAttribute('aria-pressed') !== 'true'));
      applyFilter(chips.dataset.chips);
    });
  }
  document.addEventListener('page:refreshed', () => {
    for (const input of document.querySelectorAll('input[data-filter]')) applyFilter(input.dataset.filter);
  });
}

function applyFilter(id) {
  const body = document.getElementById(id);
  if (!body) return;
  const words = (document.querySelector(`input[data-filter="${CSS.escape(id)}"]`)?.value || '').toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = new Map();
  for (const chip of document.querySelectorAll(`[data-chips="${CSS.escape(id)}"] button[aria-pressed="true"]`)) {
    const values = chosen.get(chip.dataset.filterKey) ?? new Set();
    chosen.set(chip.dataset.filterKey, values.add(chip.dataset.filterValue));
  }
  let shown = 0;
  const rows = [...body.querySelectorAll('[data-row]')];
  for (const row of rows) {
    const text = (row.dataset.search || row.textContent).toLowerCase();
    const fits = words.every((word) => text.includes(word)) && [...chosen].every(([key, values]) => values.has(row.dataset[key]));
    row.hidden = !fits;
    if (fits) shown += 1;
  }
  body.dispatchEvent(new CustomEvent('table:filtered', { bubbles: true, detail: { active: words.length > 0 || chosen.size > 0 } }));
  const count = document.querySelector(`[data-filter-count="${CSS.escape(id)}"]`);
  if (count) count.textContent = shown === rows.length ? `${rows.length}` : `${shown} of ${rows.length}`;
  const none = document.querySelector(`[data-filter-none="${CSS.escape(id)}"]`);
  if (none) none.hidden = shown > 0 || rows.length === 0;
}
