// Drives the page in headless Chromium, in parts: `node page.mjs FOLDER|URL --only PART`. Says "ok …" or "not ok …"
// of each thing that it looks at. FOLDER holds the pages that spec/page_spec.lua has made.
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../dev/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const ORDINARY = '0b1e4c52a9f04d0f8d6f0c2a3e5b7d11';
const FAILED = '7c9d20b38c1f4e6cb2aa51d6f3e8a002';
const OTHER = '0b1e4c52a9f04d0f8d6f0c2a3e5b7d99';

const NOT_HERE = 'This trace is not here';

const [place, , part] = process.argv.slice(2);
const trouble = [];

function check(name, got, wanted) {
  const [a, b] = [got, wanted].map((value) => JSON.stringify(value));
  console.log(a === b ? `ok ${name}` : `not ok ${name}: ${a} instead of ${b}`);
}

const holds = (name, got) => check(name, Boolean(got), true);

/** All that a page must not do: ask anybody for anything, or have errors. */
function watch(page) {
  page.on('console', (message) => {
    if (message.type() === 'error') trouble.push(message.text());
  });
  page.on('pageerror', (error) => trouble.push(error.message));
  page.on('request', (request) => {
    if (!/^(file|data):/.test(request.url()) && !request.url().startsWith(place)) trouble.push(request.url());
  });
}

async function open(browser, name, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ...options });
  watch(page);
  await page.goto(/^http/.test(place) ? place : `file://${place}/${name}`);
  return page;
}

const texts = (page, selector) => page.locator(selector).allTextContents();
const focused = (page) => page.evaluate(() => document.activeElement.id);
const active = (page, id) =>
  page.evaluate((of) => {
    const row = document.getElementById(document.getElementById(of).getAttribute('aria-activedescendant') || '');
    return row && row.dataset.id;
  }, id);
const measured = (page, name) => page.evaluate((of) => performance.getEntriesByName(of).at(-1).duration, name);
const frame = (page) =>
  page.evaluate(
    () =>
      new Promise((done) => {
        requestAnimationFrame(() => requestAnimationFrame(done));
      }),
  );

/** A finger that goes up from within a box. */
async function scrollByTouch(page, { x, y }) {
  const session = await page.context().newCDPSession(page);
  const touch = (type, ...points) => session.send('Input.dispatchTouchEvent', { type, touchPoints: points });
  await touch('touchStart', { x: x + 200, y });
  for (let up = 10; up <= 100; up += 10) await touch('touchMove', { x: x + 200, y: y - up });
  await touch('touchEnd');
  await frame(page);
}

/** What a program tells the server. */
const send = async (method, path, body) =>
  (
    await fetch(place + path, {
      method,
      body: JSON.stringify(body),
      headers: { Authorization: 'Bearer nxs_local' },
    })
  ).json();
const time = (seconds) => `2026-01-01T00:00:0${seconds}.000Z`;
const begin = async (name) =>
  (await send('POST', '/api/v1/traces', { agent_id: 'bot', name, status: 'running', started_at: time(0) })).trace_id;
const grow = (id, name, more = {}) =>
  send('POST', `/api/v1/traces/${id}/spans`, { name, status: 'ok', started_at: time(1), ended_at: time(2), ...more });

const parts = {
  async opens(browser) {
    const page = await open(browser, 'all.html');
    check('the list has the newest first', (await texts(page, '#traces .first .text')).slice(0, 1), ['nightly']);
    check('all are counted', await page.textContent('#count'), '5 traces');
    await page.click(`#traces [data-id="${ORDINARY}"]`);
    check('the title', await page.textContent('#title'), 'weather');
    check('the spans stand in order', await texts(page, '#spans .span .text'), [
      'thread.create',
      'thread.messages.create',
      'run',
      'chat gpt-4o-mini',
      'tool get_weather',
      'http GET station',
      'log',
      'chat gpt-4o-mini',
      'thread.messages.list',
    ]);
    check('tokens and cost', (await texts(page, '#facts span')).slice(4, 6), ['473 tokens', '$0.000098']);
    check('the critical path', await page.evaluate(() => [...document.querySelectorAll('.span.critical')].length), 8);
    const bars = await page.evaluate(() =>
      [...document.querySelectorAll('#spans .mark')].map((mark) => mark.getBoundingClientRect().left),
    );
    holds('bars stand where their spans began', bars[0] < bars[1] && bars[1] < bars[2] && bars[5] > bars[4]);
    check('tokens per turn', await texts(page, '.turns .sums'), [
      '180 in, 21 out · $0.000040',
      '232 in, 40 out · $0.000059',
    ]);
    check(
      'levels are told',
      await page.evaluate(() =>
        [...document.querySelectorAll('#spans [role=row]')].map((row) => row.ariaLevel).join(''),
      ),
      '111223321',
    );
    await page.goBack();
    check('the browser goes back', await page.textContent('#title'), 'nightly');
    for (const width of [1280, 390]) {
      const missing = await open(browser, 'all.html#trace=gone', { viewport: { width, height: 800 } });
      check(`a trace that is not there is said not to be, at ${width}`, await missing.innerText('#empty h2'), NOT_HERE);
      if (width === 390) await missing.click('#back');
      check('beside the others', await missing.isVisible('#traces'), true);
      await missing.click(`#traces [data-id="${ORDINARY}"]`);
      check('of which one is shown', await missing.isVisible('#trace'), true);
    }
    const half = await open(browser, `all.html#compare=${ORDINARY}&with=gone`);
    check('so is one to compare with', await half.innerText('#empty h2'), NOT_HERE);
  },

  async details(browser) {
    const page = await open(browser, `all.html#trace=${ORDINARY}`);
    await page.click('#spans [data-id="a8"]');
    check('messages', await texts(page, '.message .role'), ['system', 'user', 'assistant', 'tool']);
    holds(
      'arguments of a call are unfolded',
      (await page.textContent('.message[data-role=assistant] .box')).includes('units: metric'),
    );
    holds('what came out', (await page.textContent('#details')).includes('take an umbrella for the evening'));
    await page.click('#spans [data-id="a5"]');
    check(
      'JSON is folded',
      await page.evaluate(() =>
        [...document.querySelectorAll('#details summary')].map((one) => one.textContent).slice(0, 3),
      ),
      ['{2}', '{3}', 'rain: [3]'],
    );
    const summary = page.locator('#details summary').nth(1);
    await summary.click();
    check('and folds', await summary.evaluate((one) => one.parentElement.open), false);
    await page.click(`#traces [data-id="${FAILED}"]`);
    holds('the failure is said', (await page.textContent('#failure')).includes('rate_limit_exceeded'));
    check('findings and advice', await page.locator('.finding').count(), 2);
    holds('advice', (await page.textContent('.finding >> nth=1')).includes('Waiting will not help'));
    await page.click('#spans [data-id="f4"]');
    check(
      'the error of a span',
      await page.textContent('#details pre.failed'),
      'weather_tools.lua:14: the station is down',
    );
    check(
      'an answer can do nothing',
      await page.evaluate(() => [document.querySelectorAll('#evil').length, typeof window.evil]),
      [0, 'undefined'],
    );
    const talk = await open(browser, 'talk.html#trace=talk');
    const focusedText = () => talk.evaluate(() => document.activeElement.textContent.slice(0, 12));
    await talk.click('#spans [data-id="many"]');
    check('of many messages the first are shown', await talk.locator('#details .message').count(), 100);
    check('and how many there are', await texts(talk, '#details .more'), ['show all 8,000 messages']);
    await talk.focus('#details .more');
    await talk.keyboard.press('Enter');
    check('then all', await talk.locator('#details .message').count(), 8000);
    check('from the next on', await focusedText(), 'usernumber 1');
    await talk.click('#spans [data-id="long"]');
    await talk.focus('#details .more');
    await talk.keyboard.press('Enter');
    check('a long text is shown, and has the focus', [await focusedText(), await texts(talk, '.more')], ['word word wo', []]);
  },

  async zooms(browser) {
    const page = await open(browser, `all.html#trace=${ORDINARY}`);
    const ticks = () => texts(page, '.tick');
    const whole = await ticks();
    await page.click('#zoom-in');
    holds('a button zooms', JSON.stringify(await ticks()) !== JSON.stringify(whole));
    await page.click('#fit');
    check('and fits', await ticks(), whole);
    await page.dblclick('#spans [data-id="a7"] .text');
    const box = await page.locator('#spans [data-id="a7"] .mark').boundingBox();
    holds('two clicks zoom to a span', box.width > 300);
    const before = await page
      .locator('#spans [data-id="a7"] .mark')
      .evaluate((mark) => mark.getBoundingClientRect().left);
    await page.keyboard.press('Shift+ArrowRight');
    holds(
      'keys pan',
      (await page.locator('#spans [data-id="a7"] .mark').evaluate((mark) => mark.getBoundingClientRect().left)) <
        before,
    );
    await page.keyboard.press('0');
    check('0 fits', await ticks(), whole);
    await page.keyboard.press('+');
    await page.keyboard.press('-');
    check('+ and - are each other’s opposite', await ticks(), whole);
    const track = await page.locator('#spans [data-id="a3"] .track').boundingBox();
    await page.mouse.move(track.x + track.width / 2, track.y + 5);
    await page.keyboard.down('Control');
    await page.mouse.wheel(0, -400);
    await page.keyboard.up('Control');
    await frame(page);
    holds('the wheel zooms', JSON.stringify(await ticks()) !== JSON.stringify(whole));
    for (const [width, said] of [
      [1280, ['0 ms', '200 ms', '400 ms', '600 ms']],
      [400, ['0 ms', '500 ms']],
    ]) {
      const brief = await open(browser, 'brief.html#trace=brief', { viewport: { width, height: 800 } });
      check(`every line says its time at ${width}`, await texts(brief, '.tick'), said);
    }
    const long = await open(browser, 'long.html#trace=long');
    check('hours are hours', (await texts(long, '.tick')).filter(Boolean), ['0 h', '6 h', '12 h', '18 h', '24 h']);
    const touched = await open(browser, '2000.html', { hasTouch: true });
    await touched.click('#zoom-in');
    const near = await texts(touched, '.tick');
    await scrollByTouch(touched, await touched.locator('#spans .track').nth(8).boundingBox());
    holds('touch scrolls', (await touched.evaluate(() => document.getElementById('spans').scrollTop)) > 0);
    await touched.mouse.move(600, 300);
    await touched.mouse.move(900, 300);
    check('and what hovers after it moves nothing', await texts(touched, '.tick'), near);
    let said = [];
    for (let count = 0; count < 40; count++) {
      await long.keyboard.press('+');
      said = (await texts(long, '.tick')).filter(Boolean);
      if (new Set(said).size < said.length) break;
    }
    check('no two lines say the same, however near', new Set(said).size, said.length);
    holds('and some say something', said.length > 1);
    check(
      'times fit beside the bars',
      await long.evaluate(() =>
        [...document.querySelectorAll('.number')].every((one) => one.scrollWidth <= one.clientWidth),
      ),
      true,
    );
  },

  async filters(browser) {
    const page = await open(browser, 'all.html');
    const names = () => texts(page, '#traces .first .text');
    await page.selectOption('#status', 'failed');
    check('by status', [await names(), await page.textContent('#count')], [['weather'], '1 of 5 traces']);
    await page.selectOption('#status', '');
    await page.selectOption('#agent', 'importer');
    check('by agent', await names(), ['import of 2000 rows']);
    await page.selectOption('#agent', '');
    await page.fill('#search', 'GET STATION');
    check('by what is in a trace', await names(), ['weather', 'weather']);
    await page.fill('#search', 'no such thing');
    check('nothing', [await names(), await page.textContent('#count')], [[], '0 of 5 traces']);
    await page.fill('#search', '');
    await page.click(`#traces [data-id="${ORDINARY}"]`);
    await page.selectOption('#kind', 'model');
    check('spans by kind, with those they are below of', await texts(page, '#spans .text'), [
      'run',
      'chat gpt-4o-mini',
      'chat gpt-4o-mini',
    ]);
    check('how many', await page.textContent('#found'), '2 of 9');
    await page.selectOption('#kind', '');
    await page.fill('#find', 'station');
    await page.waitForFunction(() => document.getElementById('found').textContent === '1 of 9');
    check('spans by their words', await texts(page, '#spans .text'), ['run', 'tool get_weather', 'http GET station']);
    await page.fill('#find', 'umbrella?');
    await page.waitForFunction(() => document.getElementById('found').textContent === '3 of 9');
    holds('and by what went in', true);
    const narrow = await open(browser, `all.html#trace=${ORDINARY}`, { viewport: { width: 400, height: 800 } });
    await narrow.fill('#find', 'station');
    await narrow.evaluate(() => document.getElementById('back').click());
    await narrow.waitForTimeout(200);
    check('who types and leaves at once finds the list', await narrow.isVisible('#traces'), true);
  },

  async keys(browser) {
    const page = await open(browser, 'all.html');
    await page.focus('#traces');
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowDown');
    check(
      'arrows choose a trace',
      [await active(page, 'traces'), await page.textContent('#failure').then((said) => said.length > 0)],
      [FAILED, true],
    );
    const entries = () => page.evaluate(() => window.history.length);
    const before = await entries();
    for (const key of ['ArrowDown', 'ArrowDown', 'ArrowUp', 'ArrowUp']) await page.keyboard.press(key);
    check('and leave no trail', [await active(page, 'traces'), (await entries()) - before], [FAILED, 0]);
    await page.keyboard.press('Enter');
    check('enter goes into it', await focused(page), 'spans');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    check('arrows go from span to span', await active(page, 'spans'), 'f2');
    await page.keyboard.press('ArrowLeft');
    check('left closes', await texts(page, '#spans .text'), ['thread.create', 'run']);
    check('and is told', await page.getAttribute('#spans [data-id="f2"]', 'aria-expanded'), 'false');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    check('right opens, and goes in', await active(page, 'spans'), 'f3');
    await page.keyboard.press('ArrowLeft');
    check('left goes out', await active(page, 'spans'), 'f2');
    await page.keyboard.press('Enter');
    check('enter shows details', await page.textContent('#details strong'), 'run');
    await page.dblclick('#details strong', { position: { x: 5, y: 8 } });
    const selected = () => page.evaluate(() => window.getSelection().toString());
    const word = await selected();
    await page.keyboard.press('Shift+ArrowLeft');
    check('text there is selected by keys', [word, await selected()], ['run', 'ru']);
    await page.focus('#spans');
    await page.keyboard.press('Escape');
    check('esc closes them', await page.isHidden('#details'), true);
    await page.keyboard.press('/');
    check('/ finds spans', await focused(page), 'find');
    check('and says so', await page.getAttribute('#find', 'placeholder'), 'Find spans  ( / )');
    await page.keyboard.type('station');
    await page.keyboard.press('Enter');
    check('enter goes to what is found', await focused(page), 'spans');
    await page.keyboard.press('Escape');
    check('esc ends the search', await page.inputValue('#find'), '');
    await page.keyboard.press('Escape');
    check('esc goes to the list', await focused(page), 'traces');
    await page.keyboard.press('t');
    check('t searches the traces', await focused(page), 'search');
    check('and says that', await page.getAttribute('#search', 'placeholder'), 'Search traces  ( t )');
    await page.keyboard.press('Enter');
    await page.keyboard.press('c');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    check('c compares with what is chosen then', await page.isVisible('#compare'), true);
    await page.keyboard.press('Escape');
    check('and esc ends that', await page.isVisible('#trace'), true);
    await page.keyboard.press('?');
    check('? tells the keys', await page.isVisible('#keys'), true);
    await page.keyboard.press('Escape');
    check('until esc', await page.isVisible('#keys'), false);
    const narrow = await open(browser, `all.html#trace=${ORDINARY}`, { viewport: { width: 400, height: 800 } });
    await narrow.keyboard.press('t');
    check('t goes to the list where that is not to be seen', await focused(narrow), 'search');
  },

  async compares(browser) {
    const page = await open(browser, `all.html#trace=${ORDINARY}`);
    await page.click('#compare-button');
    check('asks for another', await page.isVisible('#picking'), true);
    await page.click(`#traces [data-id="${OTHER}"]`);
    check('both stand beside each other', await page.isVisible('#compare'), true);
    const names = await texts(page, '#pairs .text');
    check('spans are aligned by name and position', names, [
      'thread.create',
      'thread.messages.create',
      'run',
      'chat gpt-4o-mini',
      'tool get_forecast',
      'http GET station',
      'log',
      'tool get_weather',
      'http GET station',
      'log',
      'chat gpt-4o-mini',
      'thread.messages.list',
    ]);
    check('what one has alone is marked', await page.locator('#pairs .absent').count(), 6);
    check(
      'the difference in time',
      await page.locator('#pairs .pair-row').nth(3).locator('.number').nth(2).locator('.more-of').textContent(),
      '+400 ms',
    );
    check(
      'the difference in tokens',
      await page.locator('#pairs .pair-row').nth(2).locator('.number').nth(3).textContent(),
      '+1,000',
    );
    check('totals', await texts(page, '#totals tbody tr:nth-child(5) td'), ['473', '1,473', '+1,000']);
    await page.click('#swap');
    check('the other way round', await texts(page, '#totals tbody tr:nth-child(5) td'), ['1,473', '473', '−1,000']);
    await page.keyboard.press('Escape');
    check('esc goes back', await page.isVisible('#trace'), true);
    const heads = await open(browser, 'heads.html#compare=p1&with=p2');
    const cells = (number) => heads.locator(`#pairs .number:nth-child(${number})`);
    check('heads are each other’s', (await texts(heads, '#pairs .text')).slice(0, 3), [
      'weather Paris | weather Hell',
      'thread.create',
      'thread.messages.create',
    ]);
    check('so that nothing stands twice', await heads.locator('#pairs .pair-row').count(), 10);
    check('differences', (await cells(6).allTextContents()).slice(3, 8), ['=', '=', '+0.5 ms', '+30 ms', '+3.0 ms']);
    check('of which some are worth a colour', await texts(heads, '.more-of'), ['+30 ms', '+3.0 ms']);
    await heads.click('#swap');
    check('either way', await texts(heads, '.less-of'), ['−30 ms', '−3.0 ms']);
  },

  async looks(browser) {
    const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await open(browser, 'all.html', { colorScheme: 'dark' });
    const light = await open(browser, 'all.html', { colorScheme: 'light' });
    const [black, white] = [await ground(dark), await ground(light)];
    check('as the system has it', [black, white], ['rgb(22, 24, 29)', 'rgb(255, 255, 255)']);
    await dark.click('#theme');
    check('a switch turns it', await ground(dark), white);
    for (const width of [1280, 390]) {
      for (const name of ['all.html', 'none.html']) {
        const page = await open(browser, name, { viewport: { width, height: 800 } });
        check(`${name} fits in ${width}`, await page.evaluate(() => document.documentElement.scrollWidth), width);
      }
    }
    for (const width of [1280, 390]) {
      const wordy = await open(browser, 'wordy.html#trace=wordy', { viewport: { width, height: 800 } });
      await wordy.click('#spans .span');
      const [spans, facts] = [wordy.locator('#spans'), wordy.locator('#details .facts')];
      const tops = [(await spans.boundingBox()).y, (await facts.boundingBox()).y];
      holds(`long names leave room at ${width}: ${tops}`, tops[0] < 450 && tops[1] < 780);
      const over = await wordy
        .locator('.facts')
        .evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth).length);
      check('and stay within it', over, 0);
    }
    const narrow = await open(browser, 'all.html', { viewport: { width: 390, height: 800 } });
    check(
      'a narrow page begins with the list',
      [await narrow.isVisible('#traces'), await narrow.isVisible('#trace')],
      [true, false],
    );
    await narrow.click(`#traces [data-id="${ORDINARY}"]`);
    check('then shows the trace', [await narrow.isVisible('#traces'), await narrow.isVisible('#trace')], [false, true]);
    check('with no mark where nothing was found', await narrow.textContent('#overview'), 'Overview');
    await narrow.click('#back');
    await narrow.click(`#traces [data-id="${FAILED}"]`);
    check('findings are counted', await narrow.textContent('#overview .mark-found'), '2');
    check('and told', await narrow.getAttribute('#overview', 'aria-label'), 'Overview, 2 findings');
    await narrow.click('#overview');
    check('and there', await narrow.locator('.finding').count(), 2);
    await narrow.click('#back');
    check('and goes back', [await narrow.isVisible('#traces'), await narrow.isVisible('#trace')], [true, false]);
    const none = await open(browser, 'none.html');
    check('nothing is said to be nothing', await none.textContent('#empty h2'), 'No traces');
    await none.setViewportSize({ width: 390, height: 800 });
    check('on a narrow page, too', await none.isVisible('#empty h2'), true);
  },

  async odd(browser) {
    const page = await open(browser, 'odd.html');
    await page.click('#traces [data-id="bare"]');
    await page.waitForSelector('#spans .none');
    check('no spans are said to be none', await page.textContent('#spans'), 'There are no spans.');
    const traces = Number((await page.textContent('#count')).split(' ')[0]);
    for (let index = 0; index < traces; index++) {
      await page.locator('#traces .item').nth(index).click();
      for (const kind of ['failed', 'critical', 'model', '']) await page.selectOption('#kind', kind);
      const rows = await page.locator('#spans .span').count();
      for (let row = 0; row < rows; row++)
        await page
          .locator('#spans .span')
          .nth(row)
          .click({ position: { x: 60, y: 10 } });
      for (const button of ['#overview', '#zoom-in', '#zoom-out', '#fit', '#collapse', '#expand'])
        await page.click(button);
      if (index === 0) continue;
      await page.click('#compare-button');
      await page.locator('#traces .item').nth(0).click();
      check(`trace ${index} is compared`, await page.isVisible('#compare'), true);
      await page.click('#compare-end');
    }
    const second = (await texts(page, '#traces .second')).join();
    check('no time in the list is odd', second.match(/NaN|-\d+(\.\d)? ms/), null);
    await page.click('#traces [data-id="times"]');
    check('what ends before it begins has a bar', await page.locator('#spans [data-id="a"] .mark').count(), 1);
    await page.click('#traces [data-id="skewed"]');
    check('so it has beyond the end', await page.locator('#spans .mark').count(), 1);
    check(
      'a ring is shown once',
      await page.evaluate(
        () => [...document.querySelectorAll('#traces .text')].filter((one) => one.textContent === 'ring').length,
      ),
      1,
    );
  },

  async quick(browser) {
    for (const [name, count, most] of [
      ['2000.html', 2000, 1000],
      ['20000.html', 20000, 2000],
    ]) {
      const page = await open(browser, name);
      await page.waitForFunction(() => performance.getEntriesByName('nxa:open').length > 0);
      const spent = await measured(page, 'nxa:open');
      holds(`${count} spans are open within ${most} ms (${Math.round(spent)} ms)`, spent < most);
      check(`${count} spans are there`, await page.getAttribute('#spans', 'aria-rowcount'), String(count));
      holds('only what is in the window is drawn', (await page.locator('#spans .span').count()) < 60);
      await page.focus('#spans');
      await page.keyboard.press('End');
      check('up to the last', await active(page, 'spans'), `s${count}`);
      holds('which can be seen', await page.locator(`#spans [data-id="s${count}"]`).isVisible());
    }
  },

  async live(browser) {
    const page = await open(browser);
    await page.waitForSelector('#empty pre');
    check('it says how to send a trace', (await page.textContent('#empty pre')).split('\n'), [
      `export NEXUS_BASE_URL=${place}`,
      'export NEXUS_API_KEY=nxs_local',
      'nexus-assistants run your_script.lua',
    ]);
    const { trace_id: id } = await send('POST', '/api/v1/traces', {
      agent_id: 'bot',
      name: 'live one',
      status: 'running',
      started_at: time(0),
    });
    await page.waitForFunction(() => document.getElementById('title').textContent === 'live one');
    holds('a trace appears', true);
    await send('POST', `/api/v1/traces/${id}/spans`, {
      name: 'first',
      status: 'ok',
      started_at: time(1),
      ended_at: time(2),
    });
    await page.waitForSelector('#spans .span');
    await page.click('#spans .span');
    await send('POST', `/api/v1/traces/${id}/spans`, {
      name: 'second',
      status: 'ok',
      started_at: time(2),
      ended_at: time(3),
    });
    await page.waitForFunction(() => document.querySelectorAll('#spans .span').length === 2);
    check('it grows, and what was chosen stays so', await texts(page, '#spans [aria-selected=true] .text'), ['first']);
    await send('PATCH', `/api/v1/traces/${id}`, { status: 'success', ended_at: time(4) });
    await page.waitForFunction(() => document.querySelector('#facts .badge').textContent === 'success');
    check('and ends', (await texts(page, '#facts span')).slice(1, 3), ['bot', '4.00 s']);
    check('it says that it follows', await page.textContent('#live'), 'live');
    await send('POST', `/api/v1/traces/${id}/spans`, {
      name: 'run',
      status: 'ok',
      started_at: time(2),
      ended_at: time(4),
      output: { usage: { total_tokens: 57 } },
    });
    await page.waitForFunction(() => document.querySelectorAll('#spans .span').length === 3);
    await send('POST', `/api/v1/traces/${id}/spans`, {
      name: 'trace.end',
      status: 'error',
      started_at: time(4),
      ended_at: time(4),
      output: { trace_id: 't', error: 'it broke late', 'run.usage': { total_tokens: 58 } },
      error: 'it broke late',
    });
    await page.waitForSelector('#failure:not([hidden])');
    check('what came late is the trace’s', await page.textContent('#failure'), 'it broke late');
    check('and no span', await texts(page, '#spans .text'), ['first', 'second', 'run']);
    check('nor counted twice', (await texts(page, '#facts span')).slice(4, 5), ['58 tokens']);
    await send('POST', '/api/v1/traces', { agent_id: 'bot', name: 'other', status: 'success', started_at: time(5) });
    await page.waitForFunction(() => document.querySelectorAll('#traces .item').length === 2);
    await page.reload();
    await page.waitForSelector('#traces .item');
    const [, facts] = await texts(page, '#traces .second .text');
    check('the list knows tokens without the spans', facts, '4.00 s · 58 tokens');
  },

  async stays(browser) {
    const keys = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`key${index}`, { below: { index } }]));
    const [first, second] = [await begin('one'), await begin('two')];
    await grow(first, 'long', { output: keys });
    await grow(second, 'short');
    let page = await open(browser, '');
    const spans = (count) =>
      page.waitForFunction((of) => document.getElementById('spans').ariaRowCount === String(of), count);
    const view = () => page.evaluate(() => document.body.dataset.view);
    await page.click(`[data-id="${first}"]`);
    await page.reload();
    await spans(1);
    check('what the address names is there again', await page.textContent('#title'), 'one');
    await page.click('#spans .span');
    const reading = () =>
      page.evaluate(() => [
        document.getElementById('details').scrollTop,
        document.querySelector('#details details details').open,
      ]);
    await page.evaluate(() => {
      document.querySelector('#details details details').open = false;
      document.getElementById('details').scrollTop = 300;
    });
    await grow(first, 'more');
    await spans(2);
    check('what is read stays where it is', await reading(), [300, false]);
    await page.focus('#spans');
    await page.keyboard.press('Escape');
    await grow(first, 'after that');
    await spans(3);
    check('details that were closed stay closed', await page.isHidden('#details'), true);
    await page.keyboard.press('Enter');
    check('until they are wanted', await page.textContent('#details strong'), 'long');
    await page.click('#compare-button');
    await page.click(`[data-id="${second}"]`);
    const pairs = (count) =>
      page.waitForFunction((of) => document.querySelectorAll('#pairs .pair-row').length === of, count);
    await pairs(4);
    await grow(first, 'yet more');
    await pairs(5);
    check('what is compared grows', [await view(), await page.isVisible('#compare')], ['compare', true]);
    await page.reload();
    await pairs(5);
    check('and is there again', await view(), 'compare');

    const answers = {};
    await page.goto(`${place}/#trace=${second}`);
    await page.reload();
    await spans(1);
    await page.route(`**/view/traces/${first}`, async (route) => {
      await new Promise((done) => {
        answers.let = done;
        answers.asked();
      });
      await route.continue();
    });
    const asked = new Promise((done) => {
      answers.asked = done;
    });
    await page.evaluate((id) => document.querySelector(`#traces [data-id="${id}"]`).click(), first);
    await asked;
    const third = await begin('three');
    await page.click(`[data-id="${third}"]`);
    await page.waitForFunction(() => document.getElementById('title').textContent === 'three');
    const answered = page.waitForResponse((response) => response.url().endsWith(first));
    answers.let();
    await (await answered).finished();
    await frame(page);
    check('a late answer changes nothing', await page.textContent('#title'), 'three');

    await page.route('**/view/traces', (route) =>
      route.fulfill({ json: [{ id: 'x', agent_name: 'another', status: 'running', started_at: time(0) }] }),
    );
    await page.waitForFunction(() => document.querySelectorAll('#traces .item').length === 1);
    check('agents are those of now', await texts(page, '#agent option'), ['All agents', 'another']);

    page = await open(browser, '', { viewport: { width: 400, height: 800 } });
    await page.click(`[data-id="${first}"]`);
    await page.click('#compare-button');
    await grow(first, 'most');
    await spans(5);
    check('who chooses on a narrow page goes on', [await view(), await page.isVisible('#picking')], ['list', true]);
    await page.click('#picking-end');
    await page.waitForSelector('#trace', { state: 'visible' });
    check('and comes back', await view(), 'trace');
  },

  async key(browser) {
    const page = await open(browser);
    await page.waitForSelector('#empty form');
    trouble.length = 0; // that it was refused is an error to the browser
    check('the key is asked for', await page.textContent('#empty h2'), 'This server wants a key');
    await page.fill('#empty input', 'a-wrong-key');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#empty .refused');
    trouble.length = 0;
    holds('what is refused is said to be', (await page.textContent('#empty .refused')).includes('was refused'));
    await page.fill('#empty input', 'the-right-key');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#empty pre');
    check('and does', await page.textContent('#live'), 'live');
  },
};

const browser = await chromium.launch({ executablePath: process.env.NXA_CHROMIUM, args: ['--no-sandbox'] });
try {
  await parts[part](browser);
  check('nobody was asked for anything, and nothing went wrong', trouble, []);
} catch (error) {
  console.log(`not ok ${part}: ${error.stack}`);
} finally {
  await browser.close();
}
