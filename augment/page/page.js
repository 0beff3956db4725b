'use strict';
const all = (what, within = document) => [...within.querySelectorAll(what)];
const root = document.documentElement, theme = document.getElementById('theme');
const dark = () => root.dataset.theme ? root.dataset.theme === 'dark'
  : matchMedia('(prefers-color-scheme: dark)').matches;
const name = () => { theme.textContent = dark() ? 'Light colors' : 'Dark colors'; };
theme.hidden = false; name();
theme.addEventListener('click', () => { root.dataset.theme = dark() ? 'light' : 'dark'; name(); });
const text = (row, at) => row.cells[at].textContent.trim();
const key = (row, at) => 'v' in row.cells[at].dataset ? +row.cells[at].dataset.v : text(row, at);
const order = (a, b) => typeof a !== typeof b ? (typeof a === 'number' ? -1 : 1)
  : typeof a === 'number' ? a - b : a.localeCompare(b);
for (const table of all('table.sorts')) all('thead th', table).forEach((head, at, heads) => {
  const button = document.createElement('button'), body = table.tBodies[0];
  button.type = 'button'; button.append(...head.childNodes); head.append(button);
  button.addEventListener('click', () => {
    const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
    heads.forEach(one => one.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', sign < 0 ? 'descending' : 'ascending');
    body.append(...[...body.rows].sort((a, b) => sign * order(key(a, at), key(b, at))));
  });
});
for (const table of all('table.filters')) {
  const tools = document.createElement('div'), found = document.createElement('output');
  const rows = [...table.tBodies[0].rows], checks = [];
  const show = () => {
    rows.forEach(row => { row.hidden = !checks.every(fits => fits(row)); });
    found.textContent = `shown: ${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  };
  const add = (title, field, fits) => {
    const label = document.createElement('label');
    label.append(title + ' ', field); tools.append(label); checks.push(fits);
    field.addEventListener('input', show);
  };
  const search = document.createElement('input'); search.type = 'search';
  const holds = row => row.textContent.toLowerCase().includes(search.value.trim().toLowerCase());
  add('Filter', search, holds);
  all('thead th', table).forEach((head, at) => {
    if (!('choice' in head.dataset)) return;
    const select = document.createElement('select'), texts = new Set(rows.map(r => text(r, at)));
    for (const each of ['all', ...[...texts].sort()]) select.append(new Option(each));
    add(head.textContent.trim(), select,
      row => !select.selectedIndex || text(row, at) === select.value);
  });
  tools.className = 'tools'; tools.append(found); table.parentNode.before(tools); show();
}
