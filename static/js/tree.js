// The devices tree: arrow keys between rows, Left and Right close and open; while a filter is active, branches without a hit are hidden and the
// others opened. Open branches are remembered per viewer.
const STORE = 'tree.closed';

export function startTree() {
  for (const tree of document.querySelectorAll('[data-tree]')) {
    restore(tree);
    tree.addEventListener('toggle', () => remember(tree), true);
    tree.addEventListener('keydown', (event) => move(tree, event));
    tree.addEventListener('table:filtered', (event) => prune(tree, event.detail.active));
    document.querySelector('[data-tree-open]')?.addEventListener('click', () => all(tree, true));
    document.querySelector('[data-tree-close]')?.addEventListener('click', () => all(tree, false));
    document.addEventListener('page:refreshed', () => restore(tree));
  }
}

const branches = (tree) => [...tree.querySelectorAll('details.branch')];
const closed = () => {
  try {
    return new Set(JSON.parse(localStorage.getItem(STORE) || '[]'));
  } catch {
    return new Set();
  }
};

function restore(tree) {
  if (tree.dataset.filtered) return;
  const names = closed();
  for (const branch of branches(tree)) branch.open = !names.has(branch.dataset.path);
}

function remember(tree) {
  if (tree.dataset.filtered) return;
  const names = branches(tree).filter((branch) => !branch.open).map((branch) => branch.dataset.path);
  localStorage.setItem(STORE, JSON.stringify(names.slice(0, 500)));
}

function all(tree, open) {
  for (const branch of branches(tree)) branch.open = open;
}

function prune(tree, active) {
  if (active) tree.dataset.filtered = 'yes';
  else delete tree.dataset.filtered;
  for (const branch of branches(tree)) {
    const hit = branch.querySelector('[data-row]:not([hidden])') !== null;
    branch.parentElement.hidden = active && !hit;
    if (active && hit) branch.open = true;
  }
  if (!active) restore(tree);
}

function move(tree, event) {
  const row = event.target.closest('summary, a.leaf-link');
  if (!row) return;
  const rows = [...tree.querySelectorAll('summary, a.leaf-link')].filter((candidate) => candidate.checkVisibility());
  const at = rows.indexOf(row);
  const branch = row.tagName === 'SUMMARY' ? row.parentElement : null;
  let target = null;
  if (event.key === 'ArrowDown') target = rows[at + 1];
  else if (event.key === 'ArrowUp') target = rows[at - 1];
  else if (event.key === 'Home') target = rows[0];
  else if (event.key === 'End') target = rows.at(-1);
  else if (event.key === 'ArrowRight' && branch && !branch.open) branch.open = true;
  else if (event.key === 'ArrowRight' && branch) target = rows[at + 1];
  else if (event.key === 'ArrowLeft' && branch?.open) branch.open = false;
  else if (event.key === 'ArrowLeft') target = row.closest('ul')?.closest('details.branch')?.querySelector('summary');
  else return;
  event.preventDefault();
  target?.focus();
}
