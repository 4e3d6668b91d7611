// Entry of every page. Each module looks for its own data attributes and does nothing when they are absent.
import { startAges } from './ages.js';
import { startForms } from './forms.js';
import { startLinkState } from './link-state.js';
import { startMenus } from './menus.js';
import { startRefresh } from './refresh.js';
import { startTables } from './tables.js';
import { startTree } from './tree.js';
import { startValues } from './values.js';

startMenus();
startForms();
startAges();
startTables();
startTree();

if (document.documentElement.dataset.signedIn === 'yes') {
  startLinkState();
  startValues();
  startRefresh();
  if (document.querySelector('[data-chart]')) import('./chart.js').then((module) => module.startCharts());
  if (document.querySelector('[data-log]')) import('./log.js').then((module) => module.startLogs());
}
