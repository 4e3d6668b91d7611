// Runs before the page is painted (classic script in <head>): marks that scripts run, so that styles can choose between `.js-only` and `.no-js-only`.
document.documentElement.classList.add('js');
