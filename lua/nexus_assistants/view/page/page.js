'use strict';
(() => {
  performance.mark('nxa:begin');

  // ----------------------------------------------------------------------------------------------- what is known

  /**
   * @typedef {{id: string, name?: string, agent_name?: string, status: string, started_at: string, ended_at?: string,
   *   metadata?: any, span_count?: number, tokens?: number, spans?: Span[]}} Trace   as Nexus gives it
   * @typedef {{id: string, name: string, parent_span_id?: string, status: string, started_at: string,
   *   ended_at?: string, input?: any, output?: any, error?: string}} Span
   * @typedef {{total: number, input?: number, output?: number}} Tokens
   * @typedef {{span: Span, parent: ?Row, children: Row[], depth: number, from: number, to: ?number, kind: string,
   *   tokens: ?Tokens, cost: ?number, failed: boolean, critical: boolean, closed: boolean, below: number}} Row
   * @typedef {{trace: Trace, rows: Row[], from: number, to: number, open: boolean, tokens: ?number, cost: ?number,
   *   metadata: Object<string, any>, findings: any[], error: ?string}} Model   a trace, made ready to be shown
   */

  const given = JSON.parse(document.getElementById('data').textContent);
  const prices = given.prices || null;
  const POLL = 1000;
  const ANY_KEY = 'nxs_page'; // does where a server wants none of its own
  const ROW_HEIGHT = 26;
  const ITEM_HEIGHT = 58;
  const MOST_INDENT = 12;
  const FEW = 12; // so many spans leave room for the overview

  const state = {
    traces: /** @type {Trace[]} */ (given.traces),
    shown: /** @type {Trace[]} */ ([]),
    chosen: /** @type {?string} */ (null),
    model: /** @type {?Model} */ (null),
    rows: /** @type {Row[]} */ ([]),
    row: /** @type {?Row} */ (null),
    window: { from: 0, to: 1 },
    first: /** @type {?string} */ (null),
    picking: false,
    overview: false,
    key: ANY_KEY,
    refusal: 0,
    told: '',
    tag: '',
    pair: /** @type {?string[]} */ (null),
  };

  /** @returns {any} the element with this id */
  const at = (id) => document.getElementById(id);
  const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
  const member = (value, name) => (isObject(value) ? value[name] : undefined);

  /** Milliseconds since 1970, with their thousandths; NaN where the text is no timestamp. */
  function milliseconds(text) {
    const parts = /^(.*:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(text || '');
    return parts ? Date.parse(parts[1] + parts[3]) + Number(parts[2] || 0) * 1000 : NaN;
  }

  // ------------------------------------------------------------------------------------------------- tokens

  const count = (value) => (Number.isFinite(value) && value >= 0 ? value : undefined);

  /** @returns {?Tokens} */
  function readTokens(usage) {
    if (!isObject(usage)) return null;
    const input = count(usage.prompt_tokens) ?? count(usage.input_tokens);
    const output = count(usage.completion_tokens) ?? count(usage.output_tokens);
    const total =
      count(usage.total_tokens) ??
      (input === undefined && output === undefined ? undefined : (input || 0) + (output || 0));
    return total === undefined ? null : { total, input, output };
  }

  /** The tokens in an output or in metadata. */
  function tokensWithin(value) {
    if (!isObject(value)) return null;
    return (
      readTokens(value.usage) ||
      readTokens(value['run.usage']) ||
      readTokens({
        total_tokens: value['run.usage.total_tokens'],
        prompt_tokens: value['run.usage.prompt_tokens'],
        completion_tokens: value['run.usage.completion_tokens'],
      })
    );
  }

  function modelWithin(value) {
    const name =
      member(value, 'model') || member(value, 'gen_ai.response.model') || member(value, 'gen_ai.request.model');
    return typeof name === 'string' ? name : null;
  }

  const metadataOf = (span) => member(span.input, 'metadata') || {};
  const modelOf = (span) => modelWithin(span.output) || modelWithin(metadataOf(span));

  /** The price of the longest name that the model's begins with. */
  function priceOf(model) {
    const names = Object.keys(prices || {}).filter((name) => model.startsWith(name));
    return names.length ? prices[names.reduce((best, name) => (name.length > best.length ? name : best))] : null;
  }

  /** @returns {?number} what the tokens cost, where that is known */
  function costOf(tokens, model) {
    const price = tokens && model && tokens.input !== undefined && tokens.output !== undefined && priceOf(model);
    return price ? (tokens.input * price.input + tokens.output * price.output) / 1e6 : null;
  }

  /** The model of a run is often told by what is below it alone. */
  function modelBelow(row) {
    const stack = [row];
    while (stack.length) {
      const next = stack.shift();
      const model = modelOf(next.span);
      if (model) return model;
      stack.push(...next.children);
    }
    return null;
  }

  /** A span's own count stands for those below it. */
  function sumTokens(rows) {
    let total = null;
    let cost = null;
    let counted = Infinity;
    for (const row of rows) {
      if (row.depth <= counted) counted = Infinity;
      if (counted !== Infinity || !row.tokens) continue;
      counted = row.depth;
      total = (total || 0) + row.tokens.total;
      const price = prices && costOf(row.tokens, modelBelow(row));
      if (price !== null) cost = (cost || 0) + price;
    }
    return { total, cost };
  }

  // ------------------------------------------------------------------------------------------------- the tree

  function kindOf(span) {
    const type = String(member(span.input, 'type') || '').toLowerCase();
    const name = String(span.name || '');
    // a run asks a model, too, but what it is made of stands below it
    if (/(^|\.)runs?($|[. ])/.test(name) || /^invoke_agent\b/.test(name)) return 'run';
    if (/^(llm|chat|model|generation|text_completion|generate_content)$/.test(type) || /^chat /.test(name))
      return 'model';
    if (/^(tool|function|execute_tool)$/.test(type) || /^(execute_tool|tool) /.test(name)) return 'tool';
    return /^(agent|run|invoke_agent|invoke_workflow)$/.test(type) ? 'run' : 'other';
  }

  /** @returns {Row} */
  function newRow(span, fallback) {
    const from = milliseconds(span.started_at);
    const to = milliseconds(span.ended_at);
    const tokens = tokensWithin(span.output) || tokensWithin(metadataOf(span));
    return {
      span,
      parent: null,
      children: [],
      depth: 0,
      from: Number.isNaN(from) ? fallback : from,
      to: Number.isNaN(to) ? null : to,
      kind: kindOf(span),
      tokens,
      cost: costOf(tokens, modelOf(span)),
      failed: span.status === 'error',
      critical: false,
      closed: false,
      below: 0,
    };
  }

  const earlier = (a, b) => a.from - b.from;

  /** The rows without a parent of their own; the others are put among their parent's children. */
  function link(rows) {
    const byId = new Map(rows.map((row) => [row.span.id, row]));
    return rows.filter((row) => {
      const parent = byId.get(row.span.parent_span_id);
      if (!parent || parent === row) return true;
      row.parent = parent;
      parent.children.push(row);
      return false;
    });
  }

  /** Adds a row and those below it, in order. Without recursion: a trace may be nested as deeply as it has spans. */
  function walk(root, order, seen) {
    const stack = [root];
    root.parent = null;
    while (stack.length) {
      const row = stack.pop();
      if (seen.has(row)) continue;
      seen.add(row);
      row.depth = row.parent ? row.parent.depth + 1 : 0;
      order.push(row);
      row.children = row.children.filter((child) => !seen.has(child)).sort(earlier);
      for (let index = row.children.length - 1; index >= 0; index--) stack.push(row.children[index]);
    }
  }

  /** @returns {Row[]} each below its parent, siblings by their start */
  function treeOf(spans, fallback) {
    const rows = spans.filter(isObject).map((span) => newRow(span, fallback));
    const order = [];
    const seen = new Set();
    for (const root of link(rows).sort(earlier)) walk(root, order, seen);
    // what is left are spans that are their own ancestors
    for (const row of rows) if (!seen.has(row)) walk(row, order, seen);
    for (let index = order.length - 1; index >= 0; index--) {
      const row = order[index];
      if (row.parent) row.parent.below += row.below + 1;
    }
    return order;
  }

  /** Back from the end: whichever ended last before the moment is what was waited for. */
  function follow(siblings, moment, end, pending) {
    const endOf = (row) => Math.min(row.to ?? end, end);
    for (const row of [...siblings].sort((a, b) => endOf(b) - endOf(a) || b.from - a.from)) {
      if (endOf(row) > moment || endOf(row) <= row.from) continue;
      row.critical = true;
      pending.push(row);
      moment = row.from;
    }
  }

  function markCritical(rows, end) {
    const pending = [];
    follow(
      rows.filter((row) => !row.parent),
      end,
      end,
      pending,
    );
    while (pending.length) {
      const row = pending.pop();
      follow(row.children, Math.min(row.to ?? end, end), end, pending);
    }
  }

  function findingsOf(metadata, rows) {
    const lists = [metadata.findings];
    for (const row of rows) lists.push(member(row.span.output, 'findings'), metadataOf(row.span).findings);
    return (lists.find((list) => Array.isArray(list) && list.length) || []).filter(isObject);
  }

  function errorOf(trace, metadata, rows) {
    const told = metadata.error;
    if (typeof told === 'string' && told) return told;
    if (isObject(told)) return String(told.message || JSON.stringify(told));
    if (!isFailed(trace)) return null;
    const failed = rows.find((row) => row.failed && row.span.error);
    return failed ? `${failed.span.name}: ${failed.span.error}` : null;
  }

  function timesOf(trace, rows) {
    let from = milliseconds(trace.started_at);
    let to = milliseconds(trace.ended_at);
    for (const row of rows) {
      from = Number.isNaN(from) ? row.from : Math.min(from, row.from);
      to = Math.max(Number.isNaN(to) ? row.from : to, row.to ?? row.from, row.from);
    }
    return { from: from || 0, to: Math.max(to || 0, from || 0) };
  }

  /** @returns {Model} */
  function makeModel(trace) {
    const rows = treeOf(Array.isArray(trace.spans) ? trace.spans : [], milliseconds(trace.started_at) || 0);
    const { from, to } = timesOf(trace, rows);
    markCritical(rows, to);
    const sum = sumTokens(rows);
    const metadata = isObject(trace.metadata) ? trace.metadata : {};
    return {
      trace,
      rows,
      from,
      to,
      metadata,
      open: Number.isNaN(milliseconds(trace.ended_at)),
      cost: sum.cost,
      tokens: (tokensWithin(metadata) || sum).total,
      findings: findingsOf(metadata, rows),
      error: errorOf(trace, metadata, rows),
    };
  }

  const models = new WeakMap();

  /** @returns {Model} */
  function modelOfTrace(trace) {
    if (!models.has(trace)) models.set(trace, makeModel(trace));
    return models.get(trace);
  }

  const isFailed = (trace) => trace.status === 'error' || trace.status === 'timeout';
  const toneOf = (trace) => (isFailed(trace) ? 'failed' : trace.status === 'running' ? 'running' : 'ok');

  // ------------------------------------------------------------------------------------------------- how it is said

  /** A length of time; null is what has not ended. */
  function duration(length) {
    if (length === null) return 'open';
    if (length > 0 && length < 0.00995) return `${length.toFixed(3)} ms`;
    if (length > 0 && length < 0.095) return `${length.toFixed(2)} ms`;
    if (length < 9.95) return `${length.toFixed(1)} ms`;
    if (length < 999.5) return `${length.toFixed(0)} ms`;
    if (length < 9995) return `${(length / 1000).toFixed(2)} s`;
    if (length < 59950) return `${(length / 1000).toFixed(1)} s`;
    if (length < 3597000) return `${(length / 60000).toFixed(1)} min`;
    if (length < 172620000) return `${(length / 3600000).toFixed(1)} h`;
    return `${(length / 86400000).toFixed(length < 859680000 ? 1 : 0)} days`;
  }

  const number = (value) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
  const tokensText = (value) =>
    value === null || value === undefined ? '' : `${number(value)} token${value === 1 ? '' : 's'}`;

  function costText(cost) {
    if (cost === null || cost === undefined) return '';
    if (cost >= 0.995 || cost === 0) return `$${cost.toFixed(2)}`;
    return `$${cost.toFixed(Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(cost)))))}`;
  }

  const two = (value) => String(value).padStart(2, '0');

  /** A moment, by the clock of who looks; short where there is little room. */
  function whenText(stamp, short) {
    const moment = new Date(milliseconds(stamp));
    if (Number.isNaN(moment.getTime())) return '';
    const day = `${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
    const minute = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
    if (!short) return `${moment.getFullYear()}-${day} ${minute}:${two(moment.getSeconds())}`;
    return moment.toDateString() === new Date().toDateString()
      ? `${minute}:${two(moment.getSeconds())}`
      : `${day} ${minute}`;
  }

  const titleOf = (trace) => trace.name || trace.agent_name || trace.id || '(no name)';
  const lengthOf = (row) => (row.to === null ? null : Math.max(0, row.to - row.from));

  /** Times that a server tells in whole seconds say nothing of what took less. */
  function rowDuration(row) {
    const coarse = /whole seconds/.test(String(metadataOf(row.span).clock || ''));
    return coarse && row.to !== null && row.to - row.from < 1000 ? '–' : duration(lengthOf(row));
  }

  // ------------------------------------------------------------------------------------------------- elements

  /**
   * Makes an element.
   * @param {string} name  "tag.class.class"
   * @param {Object<string, any>} [properties]  texts beginning with "aria-", "role" and "data-" become attributes
   * @param {...(Node|string|null)} children
   */
  function element(name, properties, ...children) {
    const [tag, ...classes] = name.split('.');
    const made = document.createElement(tag);
    if (classes.length) made.className = classes.join(' ');
    for (const [key, value] of Object.entries(properties || {})) {
      if (/^(aria-|data-|role$)/.test(key)) made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children.filter((child) => child !== null && child !== ''));
    return made;
  }

  const text = (name, content) => element(name, { textContent: content });

  /**
   * A list of which only the rows in the window are drawn.
   * @param {HTMLElement} scroller
   * @param {number} height  of each row
   * @param {(index: number) => HTMLElement} draw
   */
  function virtualList(scroller, height, draw) {
    const inner = element('div.inner', { role: 'presentation' });
    scroller.append(inner);
    let size = 0;
    let without = '';
    let planned = false;

    function paint() {
      planned = false;
      const first = Math.max(0, Math.floor(scroller.scrollTop / height) - 4);
      const last = Math.min(size, Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) + 4);
      const rows = [];
      for (let index = first; index < last; index++) {
        const row = draw(index);
        row.style.top = `${index * height}px`;
        rows.push(row);
      }
      inner.replaceChildren(...rows);
      if (size === 0 && without) inner.append(text('p.none', without));
    }

    function plan() {
      if (!planned) requestAnimationFrame(paint);
      planned = true;
    }

    scroller.addEventListener('scroll', plan, { passive: true });
    new ResizeObserver(plan).observe(scroller);
    return {
      /**
       * @param {number} rows
       * @param {string} [nothing]  what is said where there are none
       */
      show(rows, nothing = '') {
        size = rows;
        without = nothing;
        inner.style.height = `${rows * height}px`;
        paint();
      },
      paint,
      /** Scrolls so that a row can be seen. */
      reveal(index) {
        const top = index * height;
        if (top < scroller.scrollTop) scroller.scrollTop = top;
        else if (top + height > scroller.scrollTop + scroller.clientHeight)
          scroller.scrollTop = top + height - scroller.clientHeight;
        paint();
      },
    };
  }

  // ------------------------------------------------------------------------------------------------- the list

  const haystacks = new WeakMap();

  /** All that a trace can be found by, in lower case. */
  function haystackOf(trace) {
    if (!haystacks.has(trace)) {
      const parts = [titleOf(trace), trace.agent_name, trace.id, trace.status, member(trace.metadata, 'error')];
      for (const span of Array.isArray(trace.spans) ? trace.spans : [])
        parts.push(member(span, 'name'), member(span, 'error'));
      haystacks.set(
        trace,
        parts
          .filter((part) => typeof part === 'string')
          .join('\n')
          .toLowerCase(),
      );
    }
    return haystacks.get(trace);
  }

  function isWanted(trace) {
    const agent = at('agent').value;
    const status = at('status').value;
    if (agent && trace.agent_name !== agent) return false;
    if (status && toneOf(trace) !== status) return false;
    return haystackOf(trace).includes(at('search').value.trim().toLowerCase());
  }

  function itemFacts(trace) {
    const length = milliseconds(trace.ended_at) - milliseconds(trace.started_at);
    const own = trace.spans ? null : tokensWithin(trace.metadata);
    const used = trace.spans ? modelOfTrace(trace).tokens : own ? own.total : trace.tokens;
    const open = trace.status === 'running' ? 'running' : 'open';
    const said = Number.isNaN(length) ? open : duration(Math.max(0, length));
    return [said, ...(used ? [tokensText(used)] : [])].join(' · ');
  }

  function drawItem(index) {
    const trace = state.shown[index];
    const item = element(
      'div.item',
      {
        id: `trace-${index}`,
        role: 'option',
        'aria-selected': String(trace.id === state.chosen),
        'data-id': trace.id,
        'aria-setsize': state.shown.length,
        'aria-posinset': index + 1,
      },
      element(
        'div.first',
        {},
        element(`span.dot.${toneOf(trace)}`, { title: trace.status, role: 'img', 'aria-label': trace.status }),
        text('span.text', titleOf(trace)),
        trace.name && trace.agent_name ? text('span.agent', trace.agent_name) : null,
      ),
      element('div.second', {}, text('span.text', itemFacts(trace)), text('span', whenText(trace.started_at, true))),
    );
    item.addEventListener('click', () => choose(trace.id));
    return item;
  }

  const list = virtualList(at('traces'), ITEM_HEIGHT, drawItem);

  /** The traces with the newest first. */
  function newestFirst(traces) {
    const begun = new Map(traces.map((trace) => [trace, milliseconds(trace.started_at) || 0]));
    return traces.sort((a, b) => begun.get(b) - begun.get(a));
  }

  function refreshAgents() {
    const select = at('agent');
    const names = [...new Set(state.traces.map((trace) => trace.agent_name).filter(Boolean))].sort();
    if (String(names) === String([...select.options].slice(1).map((option) => option.value))) return;
    const chosen = select.value;
    select.replaceChildren(
      element('option', { value: '', textContent: 'All agents' }),
      ...names.map((name) => element('option', { value: name, textContent: name })),
    );
    select.value = names.includes(chosen) ? chosen : '';
  }

  function refreshList() {
    state.shown = newestFirst(state.traces.filter(isWanted));
    list.show(state.shown.length, state.traces.length ? 'No trace is like that.' : '');
    const all = state.traces.length;
    const plural = `trace${all === 1 ? '' : 's'}`;
    at('count').textContent =
      state.shown.length === all ? `${all} ${plural}` : `${state.shown.length} of ${all} ${plural}`;
    tellActive(
      at('traces'),
      state.shown.findIndex((trace) => trace.id === state.chosen),
      'trace',
    );
  }

  /** Says to those who can't see which row is chosen. */
  function tellActive(scroller, index, prefix) {
    if (index < 0) scroller.removeAttribute('aria-activedescendant');
    else scroller.setAttribute('aria-activedescendant', `${prefix}-${index}`);
  }

  function moveInList(step) {
    if (!state.shown.length) return;
    const now = state.shown.findIndex((trace) => trace.id === state.chosen);
    const index = Math.max(0, Math.min(state.shown.length - 1, now + step));
    state.chosen = state.shown[index].id;
    tellActive(at('traces'), index, 'trace');
    list.reveal(index);
    // on a narrow page only the list is to be seen: nothing is opened yet
    if (!state.picking && !isNarrow()) show({ trace: state.chosen }, 'replaceState');
  }

  const isNarrow = () => matchMedia('(max-width: 760px)').matches;

  // ------------------------------------------------------------------------------------------------- where one is

  /**
   * What is shown stands behind the address's #, so that the browser's own buttons work.
   * @param {Object<string, string>} place
   * @param {'pushState'|'replaceState'} [how]  whether the browser goes back to where one was
   */
  function show(place, how = 'pushState') {
    const parameters = new URLSearchParams(place);
    const hash = `#${parameters}`;
    if (location.hash !== hash) history[how](null, '', hash);
    arrive();
  }

  const named = () => new URLSearchParams(location.hash.slice(1));

  /** Whether the address names a trace that is not among those that are there. */
  function isMissing() {
    const ids = ['trace', 'compare', 'with'].map((name) => named().get(name)).filter(Boolean);
    return state.traces.length > 0 && ids.some((id) => !state.traces.some((trace) => trace.id === id));
  }

  function choose(id) {
    if (state.picking && state.first && id !== state.first) {
      setPicking(false);
      show({ compare: state.first, with: id });
    } else if (!state.picking) {
      state.chosen = id;
      show({ trace: id });
    }
  }

  function showView(view) {
    // who chooses another trace to compare with needs the list
    document.body.dataset.view = state.picking && isNarrow() ? 'list' : view;
    const isGone = view === 'list' && isMissing();
    document.body.toggleAttribute('data-empty', state.traces.length === 0);
    document.body.toggleAttribute('data-missing', isGone);
    at('trace').hidden = view !== 'trace';
    at('compare').hidden = view !== 'compare';
    at('empty').hidden = view !== 'list' || (state.traces.length > 0 && !isGone && isNarrow());
    if (view === 'list') drawEmpty();
  }

  async function arrive() {
    const place = named();
    const [id, first, second] = [place.get('trace'), place.get('compare'), place.get('with')];
    if (first && second) return openCompare(first, second);
    if (id) return openTrace(id);
    state.model = null;
    showView('list');
    refreshList();
  }

  /** The traces with these ids, with their spans; null where, meanwhile, something else is to be shown. */
  async function arriveAt(ids) {
    const { hash } = location;
    const traces = [];
    for (const id of ids) traces.push(await whole(id));
    const isLatest = (trace) => trace === null || state.traces.includes(trace);
    return location.hash === hash && traces.every(isLatest) ? traces : null;
  }

  /** Whether a trace that the address names has come, or has grown, since it was drawn. */
  function isBehind() {
    const place = named();
    const drawn = document.body.dataset.view === 'compare' ? [compared.a, compared.b] : [state.model];
    return ['trace', 'compare', 'with'].some((name) => {
      const trace = state.traces.find(({ id }) => id === place.get(name));
      return trace && !drawn.some((model) => model && model.trace === trace);
    });
  }

  function setPicking(on) {
    state.picking = on;
    state.first = on && state.model ? state.model.trace.id : state.first;
    at('picking').hidden = !on;
    if (on && isNarrow()) document.body.dataset.view = 'list';
    if (on) at('traces').focus();
  }

  function endPicking() {
    setPicking(false);
    if (isNarrow()) arrive();
  }

  // ------------------------------------------------------------------------------------------------- a trace

  async function openTrace(id) {
    const traces = await arriveAt([id]);
    if (!traces) return;
    const [trace] = traces;
    if (!trace) return showView('list');
    performance.mark('nxa:trace-begin');
    const known = state.model && state.model.trace.id === id;
    const model = modelOfTrace(trace);
    const before = known && state.row;
    if (known) keepClosed(state.model, model);
    state.model = model;
    state.chosen = id;
    if (!known) begin(model);
    state.row = (before && model.rows.find((row) => row.span.id === before.span.id)) || null;
    showView('trace');
    drawTrace(known);
    refreshList();
    requestAnimationFrame(() => performance.measure('nxa:trace', 'nxa:trace-begin'));
  }

  /** A trace that is shown for the first time is shown as a whole. */
  function begin(model) {
    state.window = { from: model.from, to: Math.max(model.to, model.from + SHORTEST) };
    state.overview = !isNarrow() && (model.findings.length > 0 || model.rows.length <= FEW);
    at('find').value = '';
    at('kind').value = '';
    at('spans').scrollTop = 0;
  }

  /** A trace that grew stays as it was arranged. */
  function keepClosed(before, after) {
    const closed = new Set(before.rows.filter((row) => row.closed).map((row) => row.span.id));
    for (const row of after.rows) row.closed = closed.has(row.span.id);
    if (state.window.to === before.to && state.window.from === before.from)
      state.window = { from: after.from, to: after.to };
  }

  function fact(content, name) {
    return content ? text(name || 'span', content) : null;
  }

  function traceFacts(model) {
    const { trace } = model;
    const spans = model.rows.length;
    return [
      fact(trace.status, `span.badge.${toneOf(trace)}`),
      fact(trace.name ? trace.agent_name : ''),
      fact(duration(model.open ? null : model.to - model.from)),
      fact(`${number(spans)} span${spans === 1 ? '' : 's'}`),
      fact(tokensText(model.tokens)),
      fact(costText(model.cost)),
      fact(whenText(trace.started_at)),
      fact(trace.id, 'span.id'),
    ].filter(Boolean);
  }

  /** Where the overview is closed, its button says that something was found. */
  function drawOverviewButton(found) {
    const mark = found ? text('span.mark-found', String(found)) : null;
    if (mark) mark.title = `${found} finding${found === 1 ? '' : 's'}`;
    at('overview').replaceChildren(...['Overview', mark].filter(Boolean));
    at('overview').setAttribute('aria-label', mark ? `Overview, ${mark.title}` : 'Overview');
  }

  function drawTrace(isKnown) {
    const { model } = state;
    at('title').textContent = titleOf(model.trace);
    at('facts').replaceChildren(...traceFacts(model));
    at('failure').hidden = !model.error;
    at('failure').textContent = model.error || '';
    drawOverviewButton(model.findings.length);
    at('compare-button').disabled = state.traces.length < 2;
    refreshSpans();
    drawDetails(isKnown);
  }

  // ------------------------------------------------------------------------------------------------- its spans

  const contents = new WeakMap();

  /** All that a span can be found by, in lower case. */
  function contentsOf(row) {
    if (!contents.has(row)) {
      const { span } = row;
      contents.set(row, JSON.stringify([span.name, span.error, span.input, span.output]).toLowerCase());
    }
    return contents.get(row);
  }

  const KINDS = {
    '': () => true,
    failed: (row) => row.failed,
    critical: (row) => row.critical,
    model: (row) => row.kind === 'model',
    tool: (row) => row.kind === 'tool',
  };

  /** The rows that are looked for; null where all are. */
  function matching() {
    const words = at('find').value.trim().toLowerCase();
    const kind = at('kind').value;
    if (!words && !kind) return null;
    return state.model.rows.filter((row) => KINDS[kind](row) && (!words || contentsOf(row).includes(words)));
  }

  /** What is looked for is shown with what it is below of. */
  function withAncestors(rows) {
    const wanted = new Set();
    for (const row of rows) for (let next = row; next && !wanted.has(next); next = next.parent) wanted.add(next);
    return wanted;
  }

  function openRows(rows) {
    const shown = [];
    let depth = Infinity;
    for (const row of rows) {
      if (row.depth > depth) continue;
      shown.push(row);
      depth = row.closed ? row.depth : Infinity;
    }
    return shown;
  }

  function refreshSpans() {
    if (!state.model) return; // who typed has left the trace meanwhile
    const found = matching();
    const wanted = found && withAncestors(found);
    state.rows = wanted ? state.model.rows.filter((row) => wanted.has(row)) : openRows(state.model.rows);
    at('found').textContent = found ? `${number(found.length)} of ${number(state.model.rows.length)}` : '';
    at('spans').setAttribute('aria-rowcount', state.rows.length);
    const none = state.model.trace.status === 'running' ? 'There are no spans yet.' : 'There are no spans.';
    spans.show(state.rows.length, state.model.rows.length ? 'No span is like that.' : none);
    const bar = at('spans').offsetWidth - at('spans').clientWidth;
    document.documentElement.style.setProperty('--bar', `${bar}px`);
    drawTicks();
    tellActive(at('spans'), state.rows.indexOf(state.row), 'span');
  }

  const share = (moment) => (moment - state.window.from) / (state.window.to - state.window.from);

  /** A bar from one moment to another; what is out of the window isn't drawn. */
  function drawMark(row, name) {
    const from = share(row.from);
    // one that ends before it begins, by clocks that disagree, is where it begins
    const to = Math.max(from, share(row.to ?? state.model.to));
    if (to < 0 || from > 1) return null;
    const mark = element(name);
    if (row.to === null) mark.classList.add('open');
    const left = Math.max(-0.01, from);
    mark.style.left = `min(${left * 100}%, 100% - 3px)`;
    mark.style.width = `${(Math.min(1.01, to) - left) * 100}%`;
    return mark;
  }

  function drawFold(row) {
    const button = element('span.fold', { textContent: row.children.length ? (row.closed ? '▶' : '▼') : '' });
    if (row.children.length)
      button.addEventListener('click', (event) => {
        event.stopPropagation();
        toggle(row);
      });
    return button;
  }

  function drawName(row) {
    const cell = element(
      'div.name',
      { role: 'gridcell' },
      drawFold(row),
      element('span.text', { textContent: row.span.name || '(no name)', title: row.span.error || row.span.name || '' }),
      row.closed ? text('span.hidden-count', `+${number(row.below)}`) : null,
    );
    cell.style.paddingLeft = `${4 + Math.min(row.depth, MOST_INDENT) * (isNarrow() ? 8 : 14)}px`;
    return cell;
  }

  function drawSpan(index) {
    const row = state.rows[index];
    const made = element(
      'div.span',
      {
        id: `span-${index}`,
        role: 'row',
        'aria-level': row.depth + 1,
        'aria-rowindex': index + 1,
        'aria-selected': String(row === state.row),
        'data-id': row.span.id || '',
      },
      drawName(row),
      element('div.track', { role: 'gridcell' }, drawMark(row, `div.mark.${row.kind}`)),
      element('div.number', { role: 'gridcell', textContent: rowDuration(row) }),
      element('div.number', {
        role: 'gridcell',
        textContent: row.tokens ? number(row.tokens.total) : '',
        title: costText(row.cost),
      }),
    );
    if (row.children.length) made.setAttribute('aria-expanded', String(!row.closed));
    made.classList.toggle('failed', row.failed);
    made.classList.toggle('critical', row.critical);
    made.addEventListener('click', () => select(row));
    made.addEventListener('dblclick', () => zoomTo(row));
    return made;
  }

  const spans = virtualList(at('spans'), ROW_HEIGHT, drawSpan);

  function select(row) {
    state.row = row;
    state.overview = false;
    const index = state.rows.indexOf(row);
    tellActive(at('spans'), index, 'span');
    drawDetails();
    if (index >= 0) spans.reveal(index);
    else spans.paint();
  }

  function toggle(row, closed = !row.closed) {
    row.closed = closed;
    refreshSpans();
  }

  function setAllClosed(closed) {
    for (const row of state.model.rows) row.closed = closed && row.children.length > 0;
    refreshSpans();
  }

  function moveInSpans(step) {
    if (!state.rows.length) return;
    const now = state.rows.indexOf(state.row);
    const index = Math.max(0, Math.min(state.rows.length - 1, now + step));
    // the details follow where they are open; else they stay closed
    if (!at('details').hidden && !state.overview) return select(state.rows[index]);
    state.row = state.rows[index];
    tellActive(at('spans'), index, 'span');
    spans.reveal(index);
  }

  /** Right opens what is below, or goes there; left closes it, or goes to what the span is below of. */
  function stepInTree(right) {
    const { row } = state;
    if (!row) return moveInSpans(0);
    if (row.children.length && row.closed === right) return toggle(row);
    if (right && row.children.length) return moveInSpans(1);
    if (!right && row.parent) moveInSpans(state.rows.indexOf(row.parent) - state.rows.indexOf(row));
  }

  // ------------------------------------------------------------------------------------------------- zoom

  const SHORTEST = 0.01;

  function setWindow(from, to) {
    const { model } = state;
    const length = Math.max(SHORTEST, Math.min(to - from, Math.max(model.to - model.from, SHORTEST)));
    const begin = Math.max(model.from, Math.min(from, Math.max(model.from, model.to - length)));
    state.window = { from: begin, to: begin + length };
    spans.paint();
    drawTicks();
  }

  /** The middle of what can be seen of the chosen span, or of the window. */
  function middleOf({ from, to }, row) {
    const begin = row ? Math.max(from, row.from) : from;
    const end = row ? Math.min(to, row.to ?? to) : to;
    return begin <= end ? (begin + end) / 2 : (from + to) / 2;
  }

  function zoom(factor, around = middleOf(state.window, state.row)) {
    const { from, to } = state.window;
    setWindow(around - (around - from) * factor, around + (to - around) * factor);
  }

  function pan(part) {
    const length = state.window.to - state.window.from;
    setWindow(state.window.from + part * length, state.window.to + part * length);
  }

  function zoomTo(row) {
    const to = row.to ?? state.model.to;
    const margin = Math.max((to - row.from) * 0.05, SHORTEST);
    setWindow(row.from - margin, to + margin);
  }

  const fit = () => setWindow(state.model.from, state.model.to);

  const [MINUTE, HOUR, DAY] = [60000, 3600000, 86400000];
  // from a second to a day, lengths that clocks have
  const CLOCK = [2, 5, 10, 20, 30]
    .map((seconds) => seconds * 1000)
    .concat([1, 2, 5, 10, 20, 30].map((minutes) => minutes * MINUTE))
    .concat([1, 2, 3, 6, 12, 24].map((hours) => hours * HOUR));

  /** 1, 2 or 5 times a power of ten. */
  function roundLength(least) {
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= least);
  }

  /** The least length that gives no more ticks than there is room for. */
  function tickLength(length, most) {
    const least = length / most;
    if (least <= 1000) return roundLength(least);
    return CLOCK.find((step) => step >= least) ?? roundLength(least / DAY) * DAY;
  }

  /** So many digits that two ticks don't say the same. */
  const digitsOf = (step) => Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));

  function tickText(offset, step) {
    if (step >= DAY) return `${(offset / DAY).toFixed(0)} d`;
    if (step >= HOUR) return `${(offset / HOUR).toFixed(0)} h`;
    if (step >= MINUTE) return `${(offset / MINUTE).toFixed(0)} min`;
    if (offset >= 1000 || step >= 1000) return `${(offset / 1000).toFixed(digitsOf(step / 1000))} s`;
    return `${offset.toFixed(digitsOf(step))} ms`;
  }

  /** What it says stands behind it; where there is no room, before it, unless that is what `before` takes. */
  function drawTick(place, said, width, before) {
    const needed = 8 + said.length * 7;
    const tick = text('span.tick', '');
    if ((1 - place) * width > needed) tick.textContent = said;
    else if (place * width - before > needed) {
      tick.textContent = said;
      tick.classList.add('left');
    }
    tick.style.left = `${place * 100}%`;
    return tick;
  }

  function drawTicks() {
    const layer = at('ticks');
    const { from, to } = state.window;
    const ticks = [];
    const room = isNarrow() ? 55 : 90;
    const step = tickLength(to - from, Math.max(1, Math.floor(layer.clientWidth / room)));
    if (!state.model.rows.length) return layer.replaceChildren();
    const first = Math.ceil((from - state.model.from) / step) * step;
    let before = 0; // where the text before ends
    for (let offset = first; offset <= to - state.model.from; offset += step) {
      const [place, said] = [share(state.model.from + offset), tickText(offset, step)];
      ticks.push(drawTick(place, said, layer.clientWidth, before));
      before = place * layer.clientWidth + 8 + said.length * 7;
    }
    layer.replaceChildren(...ticks);
  }

  const momentAt = (x) => {
    const box = at('ticks').getBoundingClientRect();
    return state.window.from + ((x - box.left) / box.width) * (state.window.to - state.window.from);
  };

  function onWheel(event) {
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 200), momentAt(event.clientX));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      pan((event.deltaX || event.deltaY) / 800);
    else return;
    event.preventDefault();
  }

  // a touch that scrolls is cancelled, and never goes up
  const DRAG_ENDS = ['pointerup', 'pointercancel'];

  /** Dragging over the bars goes to earlier and later. */
  function startDrag(event) {
    const box = at('ticks').getBoundingClientRect();
    if (event.button !== 0 || event.clientX < box.left || event.clientX > box.right) return;
    let x = event.clientX;
    const move = (next) => {
      if (!next.buttons) return stop();
      pan((x - next.clientX) / box.width);
      x = next.clientX;
    };
    const stop = () => {
      removeEventListener('pointermove', move);
      for (const end of DRAG_ENDS) removeEventListener(end, stop);
    };
    addEventListener('pointermove', move);
    for (const end of DRAG_ENDS) addEventListener(end, stop);
  }

  // ------------------------------------------------------------------------------------------------- details

  const LONG = 2000;
  const MANY = 100;

  /** A button that shows the rest, which `show` returns: the focus goes on to it, as the button goes. */
  function moreButton(said, show) {
    const more = element('button.more', { type: 'button', textContent: said });
    more.addEventListener('click', () => {
      const rest = show();
      rest.tabIndex = -1;
      rest.focus({ preventScroll: true });
    });
    return more;
  }

  /** A text, of which a long one shows its beginning first. */
  function longText(name, content) {
    const shown = text(name, content.slice(0, LONG));
    if (content.length <= LONG) return shown;
    const more = moreButton(`show all ${number(content.length)} characters`, () => {
      shown.textContent = content;
      return shown;
    });
    shown.append('… ', more);
    return shown;
  }

  function drawScalar(value) {
    if (typeof value === 'string') return longText('span.string', value);
    return text('span.scalar', String(value));
  }

  function drawMember(name, value, level) {
    const label = name === null ? null : text('span.member', `${name}: `);
    if (value === null || typeof value !== 'object' || Object.keys(value).length === 0) {
      const shown =
        value !== null && typeof value === 'object'
          ? text('span.size', Array.isArray(value) ? '[]' : '{}')
          : drawScalar(value);
      return element('div.leaf', {}, label, shown);
    }
    return drawBranch(label, value, level);
  }

  /** What is in it is drawn once it is opened. */
  function drawBranch(label, value, level) {
    const entries = Object.entries(value);
    const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
    const branch = element('details', {}, element('summary', {}, label, text('span.size', size)));
    const fill = () => {
      if (branch.childElementCount > 1 || !branch.open) return;
      const below = element(
        'div.below',
        {},
        ...entries.slice(0, MANY).map(([name, item]) => drawMember(name, item, level + 1)),
      );
      if (entries.length > MANY) below.append(text('div.size', `and ${entries.length - MANY} more`));
      branch.append(below);
    };
    branch.addEventListener('toggle', fill);
    branch.open = level < 2;
    fill();
    return branch;
  }

  /** JSON in a text is shown as what it says. */
  function unfold(value) {
    if (typeof value !== 'string' || !/^\s*[[{]/.test(value)) return value;
    try {
      return JSON.parse(value);
    } catch {
      return value;
    }
  }

  function drawValue(value) {
    const known = unfold(value);
    if (typeof known === 'string') return longText('pre', known);
    return element('div.box.tree', {}, drawMember(null, known, 0));
  }

  const isNothing = (value) =>
    value === null || value === undefined || (isObject(value) && Object.keys(value).length === 0);

  function block(title, ...children) {
    return element('section.block', {}, text('h3', title), ...children);
  }

  const blockOf = (title, value) => (isNothing(value) ? null : block(title, drawValue(value)));

  /** The messages in what went in or came out; null where it has none. */
  function messagesIn(value) {
    const found = Array.isArray(value) ? value : member(value, 'messages');
    return Array.isArray(found) && found.length && found.every((message) => typeof member(message, 'role') === 'string')
      ? found
      : null;
  }

  function partText(part) {
    if (typeof part === 'string') return part;
    const said = member(part, 'text') ?? member(part, 'content');
    return typeof said === 'string' ? said : (member(said, 'value') ?? JSON.stringify(part, null, 2));
  }

  function saidIn(message) {
    const content = message.content ?? message.parts;
    return (Array.isArray(content) ? content.map(partText).join('\n') : (content ?? '')).toString();
  }

  /** A call of a tool, its arguments as what they say. */
  function drawCall(call) {
    const named = member(call, 'function') || call;
    return element(
      'div.box.tree',
      {},
      drawMember(String(named.name || call.type || 'call'), unfold(named.arguments) ?? call, 1),
    );
  }

  function drawMessage(message) {
    const said = saidIn(message);
    const known = unfold(said);
    const body =
      typeof known === 'string' ? longText('div.said', known) : element('div.box.tree', {}, drawMember(null, known, 1));
    return element(
      'div.message',
      { 'data-role': message.role },
      text('span.role', message.name ? `${message.role} ${message.name}` : message.role),
      said ? body : null,
      ...(Array.isArray(message.tool_calls) ? message.tool_calls.map(drawCall) : []),
    );
  }

  /** The messages, of which many show the first of them first. */
  function messagesBlock(title, messages) {
    const shown = block(`${title} (${messages.length})`, ...messages.slice(0, MANY).map(drawMessage));
    if (messages.length <= MANY) return shown;
    const more = moreButton(`show all ${number(messages.length)} messages`, () => {
      const rest = document.createDocumentFragment();
      for (const message of messages.slice(MANY)) rest.append(drawMessage(message));
      const next = rest.firstElementChild;
      more.replaceWith(rest);
      return next;
    });
    shown.append(more);
    return shown;
  }

  /** What went in and came out is shown as the messages it is made of, where it is, and the rest below them. */
  function drawContent(title, value) {
    const known = unfold(value);
    const messages = messagesIn(known);
    if (!messages) return [blockOf(title, known)];
    const rest = isObject(known)
      ? Object.fromEntries(Object.entries(known).filter(([name]) => name !== 'messages'))
      : null;
    return [messagesBlock(title === 'Input' ? 'Messages' : 'Answer', messages), blockOf(title, rest)];
  }

  function drawFinding(finding) {
    return element(
      `div.finding.${finding.severity === 'error' ? 'error' : 'warning'}`,
      {},
      element('p', {}, text('b', `${finding.severity || 'note'} ${finding.id || ''} `), String(finding.evidence || '')),
      finding.advice ? text('p', finding.advice) : null,
    );
  }

  const findingsBlock = (findings) => (findings.length ? block('Findings', ...findings.map(drawFinding)) : null);

  function drawTurn(row, most) {
    const { tokens } = row;
    const name = element('button', { type: 'button', textContent: row.span.name, title: row.span.name });
    name.addEventListener('click', () => select(state.model.rows.find((now) => now.span.id === row.span.id) || row));
    const parts = tokens.input === undefined ? [tokens.total] : [tokens.input, tokens.output || 0];
    const stack = element(
      'span.stack',
      {},
      ...parts.map((part) => {
        const bar = element('i');
        bar.style.width = `${(part / most) * 100}%`;
        return bar;
      }),
    );
    const told =
      tokens.input === undefined
        ? number(tokens.total)
        : `${number(tokens.input)} in, ${number(tokens.output || 0)} out`;
    return [name, stack, text('span.sums', [told, costText(row.cost)].filter(Boolean).join(' · '))];
  }

  /** The questions to models, in the order in which they were asked; the runs, where no questions are known. */
  function turnsBlock(model) {
    const used = model.rows.filter((row) => row.tokens);
    const asked = used.filter((row) => row.kind === 'model');
    const turns = (asked.length ? asked : used).slice(0, 200);
    if (!turns.length) return null;
    const most = Math.max(1, ...turns.map((row) => row.tokens.total));
    return block('Tokens per turn', element('div.turns', {}, ...turns.flatMap((row) => drawTurn(row, most))));
  }

  const WITHOUT = new Set(['findings', 'input', 'output', 'error', 'usage']);
  // By name: what wrote them has no order of its own.
  const byName = ([one], [other]) => (one < other ? -1 : one > other ? 1 : 0);
  const restOf = (metadata) =>
    Object.fromEntries(
      Object.entries(metadata)
        .filter(([name]) => !WITHOUT.has(name))
        .sort(byName),
    );

  function overviewBlocks(model) {
    const { metadata } = model;
    return [
      findingsBlock(model.findings),
      turnsBlock(model),
      ...drawContent('Input', metadata.input),
      ...drawContent('Output', metadata.output),
      blockOf('Metadata', restOf(metadata)),
    ];
  }

  function spanFacts(row) {
    const { tokens, span } = row;
    const told =
      tokens &&
      (tokens.input === undefined
        ? tokensText(tokens.total)
        : `${number(tokens.input)} tokens in, ${number(tokens.output || 0)} out`);
    return element(
      'p.facts',
      {},
      ...[
        fact(span.status, `span.badge.${row.failed ? 'failed' : 'ok'}`),
        fact(rowDuration(row)),
        fact(`at ${duration(row.from - state.model.from)}`),
        fact(modelOf(span)),
        fact(told),
        fact(costText(row.cost)),
        row.critical ? fact('on the critical path') : null,
      ].filter(Boolean),
    );
  }

  /** Whoever writes for Nexus has one field for what went in, and all else that is known stands in it, too. */
  const isFolded = (input) =>
    isObject(input) && ['metadata', 'type', 'span_id'].some((name) => input[name] !== undefined);

  function spanBlocks(row) {
    const { span } = row;
    const folded = isFolded(span.input);
    const metadata = folded ? metadataOf(span) : {};
    return [
      spanFacts(row),
      span.error ? block('Error', longText('pre.failed', String(span.error))) : null,
      findingsBlock(Array.isArray(metadata.findings) ? metadata.findings.filter(isObject) : []),
      ...drawContent('Input', folded ? span.input.input : span.input),
      ...drawContent('Output', span.output),
      blockOf('Metadata', restOf(metadata)),
    ];
  }

  function detailsHead(title) {
    const close = element('button.plain', { type: 'button', textContent: '✕', 'aria-label': 'Close the details' });
    close.addEventListener('click', closeDetails);
    return element('div.details-head', {}, text('strong', title), close);
  }

  /** Of a trace that grew, what is the same stays as whoever reads it has opened and scrolled it. */
  function drawDetails(isKnown = false) {
    const panel = at('details');
    const { row, model, overview } = state;
    // what was closed stays closed while the trace grows
    const isOpen = (overview || row !== null) && !(isKnown && panel.hidden);
    at('overview').setAttribute('aria-pressed', String(overview));
    panel.hidden = !isOpen;
    if (!isOpen) return panel.replaceChildren();
    const head = detailsHead(overview ? 'Overview' : row.span.name || '(no name)');
    const blocks = (overview ? overviewBlocks(model) : spanBlocks(row)).filter(Boolean);
    if (!blocks.length) blocks.push(text('p.none', 'Nothing more is known.'));
    // where nothing grows, the row alone says what is drawn
    const told = given.live
      ? [head, ...blocks].map((part) => part.outerHTML).join('')
      : `${overview} ${model.rows.indexOf(row)}`;
    if (isKnown && panel.childElementCount && told === state.told) return;
    const top = isKnown ? panel.scrollTop : 0;
    panel.replaceChildren(head, ...blocks);
    panel.scrollTop = top;
    state.told = told;
  }

  function closeDetails() {
    state.overview = false;
    at('details').hidden = true;
    at('overview').setAttribute('aria-pressed', 'false');
    at('spans').focus();
  }

  function toggleOverview() {
    state.overview = !state.overview;
    if (!state.overview) return closeDetails();
    drawDetails();
  }

  // ------------------------------------------------------------------------------------------------- comparing

  /** @typedef {{a: ?Row, b: ?Row, depth: number}} Pair */

  const HEAD = 'head';

  /** The span that a whole trace is in, where it has one. It is often named like the trace. */
  function headOf(model) {
    const roots = model.rows.filter((row) => !row.parent);
    return roots.length === 1 ? roots[0] : roots.find((row) => row.span.name === model.trace.name) || null;
  }

  /** The children by their name and which of that name they are; the head, which is known, as itself. */
  function keyed(rows, head) {
    const counts = new Map();
    return new Map(
      rows.map((row) => {
        const position = (counts.get(row.span.name) || 0) + 1;
        counts.set(row.span.name, position);
        return [row === head ? HEAD : `${row.span.name}\n${position}`, row];
      }),
    );
  }

  /** Siblings of both, side by side; what only the second has stands behind what it follows there. */
  function alignSiblings(first, second, heads = [null, null]) {
    const a = keyed(first, heads[0]);
    const b = keyed(second, heads[1]);
    const order = [...a.keys()];
    let place = 0;
    for (const key of b.keys()) {
      if (a.has(key)) place = order.indexOf(key) + 1;
      else order.splice(place++, 0, key);
    }
    return order.map((key) => ({ a: a.get(key) || null, b: b.get(key) || null }));
  }

  /**
   * @returns {Pair[]} the spans of both, aligned by their names and positions below what they are below of. The heads of
   *   two traces are each other's, whatever their names are.
   */
  function align(first, second) {
    const [one, other] = [first, second].map((model) => model.rows.filter((row) => !row.parent));
    const heads = [headOf(first), headOf(second)];
    const known = heads[0] && heads[1] ? heads : undefined;
    const pairs = [];
    const stack = [{ list: alignSiblings(one, other, known), depth: 0, next: 0 }];
    while (stack.length) {
      const level = stack[stack.length - 1];
      if (level.next === level.list.length) {
        stack.pop();
        continue;
      }
      const pair = level.list[level.next++];
      pairs.push({ ...pair, depth: level.depth });
      const below = alignSiblings(pair.a ? pair.a.children : [], pair.b ? pair.b.children : []);
      stack.push({ list: below, depth: level.depth + 1, next: 0 });
    }
    return pairs;
  }

  const compared = {
    a: /** @type {?Model} */ (null),
    b: /** @type {?Model} */ (null),
    pairs: /** @type {Pair[]} */ ([]),
    longest: 1,
  };

  const always = () => true;
  /** Below this no clock tells lengths of time apart. */
  const SAME = 0.005;
  const sayDifference = (length) => duration(length < SAME ? 0 : length);
  /** No two calls take the same time: what is worth a colour is more than a millisecond, and a twentieth. */
  const isNotable = (a, b) => Math.abs(b - a) >= 1 && Math.abs(b - a) >= 0.05 * Math.max(a, b);

  /** A difference with its sign, and, where it counts, whether it is more or less. */
  function drawDifference(a, b, say, counts = always) {
    if (a === null || b === null || a === undefined || b === undefined) return text('span', '');
    const said = say(Math.abs(b - a));
    if (said === say(0) || a === b) return text('span', '=');
    const tone = counts(a, b) ? (b > a ? '.more-of' : '.less-of') : '';
    return text(`span${tone}`, (b > a ? '+' : '−') + said);
  }

  const drawTimeDifference = (a, b) => drawDifference(a, b, sayDifference, isNotable);

  function drawPairTrack(row, model) {
    if (!row) return element('div.track.absent', { role: 'gridcell', title: 'not there', 'aria-label': 'not there' });
    const mark = element(`div.mark.${row.failed ? 'failed' : row.kind}`);
    mark.style.left = `${((row.from - model.from) / compared.longest) * 100}%`;
    mark.style.width = `${(((row.to ?? model.to) - row.from) / compared.longest) * 100}%`;
    return element('div.track', { role: 'gridcell', title: rowDuration(row) }, mark);
  }

  const tokensOf = (row) => (row && row.tokens ? row.tokens.total : null);

  function drawPair(index) {
    const { a, b, depth } = compared.pairs[index];
    const names = [...new Set([a, b].filter(Boolean).map((row) => row.span.name || '(no name)'))].join(' | ');
    const name = element('div.text', { role: 'gridcell', textContent: names, title: names });
    name.style.paddingLeft = `${12 + Math.min(depth, MOST_INDENT) * 14}px`;
    return element(
      'div.pair-row',
      { role: 'row', 'aria-rowindex': index + 1 },
      name,
      drawPairTrack(a, compared.a),
      drawPairTrack(b, compared.b),
      ...[a, b].map((one) =>
        element('div.number.time', { role: 'gridcell', textContent: one ? rowDuration(one) : '' }),
      ),
      element(
        'div.number',
        { role: 'gridcell' },
        drawTimeDifference(a && lengthOf(a), b && lengthOf(b)),
      ),
      element('div.number', { role: 'gridcell' }, drawDifference(tokensOf(a), tokensOf(b), number)),
    );
  }

  const pairs = virtualList(at('pairs'), ROW_HEIGHT, drawPair);

  function totalsRow(label, say, read, difference = (a, b) => drawDifference(a, b, say)) {
    const [a, b] = [read(compared.a), read(compared.b)];
    return element(
      'tr',
      {},
      text('th', label),
      text('td', a === null || a === undefined ? '–' : say(a)),
      text('td', b === null || b === undefined ? '–' : say(b)),
      element('td', {}, difference(a, b)),
    );
  }

  function drawTotals() {
    const { a, b } = compared;
    const titles = [`A  ${titleOf(a.trace)}`, `B  ${titleOf(b.trace)}`, 'B − A'];
    const heads = [element('td'), ...titles.map((title) => element('th', { textContent: title, title }))];
    const started = element(
      'tr',
      {},
      text('th', 'Begun'),
      ...[a, b].map((model) => text('td', whenText(model.trace.started_at, isNarrow()))),
      text('td', ''),
    );
    const status = element(
      'tr',
      {},
      text('th', 'Status'),
      ...[a, b].map((model) => element('td', {}, text(`span.badge.${toneOf(model.trace)}`, model.trace.status))),
      text('td', ''),
    );
    at('totals').replaceChildren(
      element('thead', {}, element('tr', {}, ...heads)),
      element(
        'tbody',
        {},
        started,
        status,
        totalsRow('Duration', duration, (model) => (model.open ? null : model.to - model.from), drawTimeDifference),
        totalsRow('Spans', number, (model) => model.rows.length),
        totalsRow('Tokens', number, (model) => model.tokens),
        ...(prices ? [totalsRow('Cost', costText, (model) => model.cost)] : []),
      ),
    );
  }

  async function openCompare(first, second) {
    const traces = await arriveAt([first, second]);
    if (!traces) return;
    if (!traces[0] || !traces[1]) return showView('list');
    const isKnown = document.body.dataset.view === 'compare' && String(state.pair) === String([first, second]);
    [compared.a, compared.b] = traces.map(modelOfTrace);
    compared.pairs = align(compared.a, compared.b);
    compared.longest = Math.max(0.001, compared.a.to - compared.a.from, compared.b.to - compared.b.from);
    state.pair = [first, second];
    showView('compare');
    drawTotals();
    at('pairs').setAttribute('aria-rowcount', compared.pairs.length);
    if (!isKnown) at('pairs').scrollTop = 0;
    pairs.show(compared.pairs.length);
    if (!isKnown) at('pairs').focus();
  }

  // ------------------------------------------------------------------------------------------------- nothing there

  function drawEmpty() {
    const panel = at('empty');
    if (isMissing())
      return panel.replaceChildren(
        text('h2', 'This trace is not here'),
        text('p', 'The address names one that is not among these traces: choose another.'),
      );
    if (state.traces.length)
      return panel.replaceChildren(
        text('h2', 'Choose a trace'),
        text('p', 'Its spans, messages, tokens and errors are shown here.'),
      );
    if (!given.live)
      return panel.replaceChildren(
        text('h2', 'No traces'),
        text('p', 'There were none where this page was made from.'),
      );
    if (state.refusal === 401) return drawKeyForm(panel);
    if (state.refusal) return panel.replaceChildren(text('h2', 'Nothing is shown here'), text('p', OPEN_TO_OTHERS));
    const key = state.key === ANY_KEY ? 'nxs_local' : 'the-same-key';
    panel.replaceChildren(
      text('h2', 'Waiting for the first trace'),
      text('p', 'Run a script that traces with these set, and it appears here while it runs:'),
      text(
        'pre',
        `export NEXUS_BASE_URL=${location.origin}\nexport NEXUS_API_KEY=${key}\nnexus-assistants run your_script.lua`,
      ),
    );
  }

  const OPEN_TO_OTHERS =
    'This server can be reached from elsewhere. Start it with --api-key-environment, and who has the key sees ' +
    'what it received.';

  /** Where the server wants a key, only who has it sees what it received. */
  function drawKeyForm(panel) {
    if (panel.querySelector('form')) return;
    const input = element('input', { type: 'password', autocomplete: 'off', 'aria-label': 'Key', placeholder: 'Key' });
    const form = element('form', {}, input, text('button', 'Open'));
    const said = 'That key was refused: it is not the one that this server wants.';
    const refused = state.key === ANY_KEY ? null : element('p.refused', { role: 'alert', textContent: said });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      Object.assign(state, { key: input.value.trim(), refusal: 0 });
      panel.replaceChildren();
      poll();
    });
    panel.replaceChildren(
      text('h2', 'This server wants a key'),
      ...[text('p', 'The one that its programs send as NEXUS_API_KEY.'), refused, form].filter(Boolean),
    );
    input.focus();
  }

  // ------------------------------------------------------------------------------------------------- live

  /** Asks the server that the page came from; a header that other sites' pages can't send goes along. */
  function ask(path, headers) {
    return fetch(path, {
      headers: { Authorization: `Bearer ${state.key}`, ...headers },
      cache: 'no-store',
      redirect: 'error',
    });
  }

  /** The trace with its spans; null where it isn't there any more. */
  async function whole(id) {
    const known = state.traces.find((trace) => trace.id === id);
    if (!given.live || !known || known.spans) return known || null;
    const response = await ask(`/view/traces/${encodeURIComponent(id)}`).catch(() => null);
    if (!response || !response.ok) return null;
    Object.assign(known, await response.json());
    return known;
  }

  function setLive(on, said) {
    at('live').dataset.state = on ? 'on' : 'off';
    at('live').textContent = said;
  }

  /** Who isn't let in asks no more by itself. */
  function refuse(status) {
    state.refusal = status;
    setLive(false, status === 401 ? 'a key is wanted' : 'refused');
    showView('list');
  }

  /** What is known of a trace stays where nothing of it changed. */
  function takeIn(listed) {
    const before = new Map(state.traces.map((trace) => [trace.id, trace]));
    const isSame = (a, b) => a && a.revision === b.revision;
    state.traces = listed.map((trace) => (isSame(before.get(trace.id), trace) ? before.get(trace.id) : trace));
    refreshAgents();
    refreshList();
    if (isBehind()) arrive();
    else if (!location.hash && state.shown.length && !isNarrow()) show({ trace: state.shown[0].id });
    else if (document.body.dataset.view === 'list') showView('list');
  }

  async function poll() {
    const response = await ask('/view/traces', { 'If-None-Match': state.tag }).catch(() => null);
    if (response && (response.status === 401 || response.status === 403)) return refuse(response.status);
    setLive(response !== null, response ? 'live' : 'the server is gone');
    if (response && response.status === 200) {
      state.tag = response.headers.get('ETag') || '';
      takeIn(await response.json());
    }
    setTimeout(poll, POLL);
  }

  // ------------------------------------------------------------------------------------------------- keys

  const INPUTS = /^(INPUT|SELECT|TEXTAREA)$/;

  /** Esc goes back by one: the search, the details, the trace. */
  function goBack() {
    if (state.picking) return endPicking();
    if (document.body.dataset.view === 'compare') return show({ trace: state.pair[0] });
    if (document.body.dataset.view !== 'trace') return;
    if (at('find').value || at('kind').value) {
      at('find').value = '';
      at('kind').value = '';
      refreshSpans();
    } else if (!at('details').hidden) closeDetails();
    else leaveTrace();
  }

  function leaveTrace() {
    if (isNarrow()) show({});
    at('traces').focus();
  }

  function focusField(field) {
    field.focus();
    field.select();
  }

  function searchTraces() {
    if (isNarrow() && document.body.dataset.view !== 'list') show({});
    focusField(at('search'));
  }

  /** The spans of the trace that is open; else the traces. */
  function searchHere() {
    if (document.body.dataset.view === 'trace') focusField(at('find'));
    else searchTraces();
  }

  const EVERYWHERE = {
    '/': searchHere,
    t: searchTraces,
    '?': () => at('keys').showModal(),
    Escape: goBack,
    c: () => state.model && state.traces.length > 1 && setPicking(true),
    '+': () => state.model && zoom(0.5),
    '=': () => state.model && zoom(0.5),
    '-': () => state.model && zoom(2),
    0: () => state.model && fit(),
  };

  const IN_LIST = {
    ArrowDown: () => moveInList(1),
    ArrowUp: () => moveInList(-1),
    PageDown: () => moveInList(10),
    PageUp: () => moveInList(-10),
    Home: () => moveInList(-Infinity),
    End: () => moveInList(Infinity),
    Enter: () => {
      if (state.chosen) {
        choose(state.chosen);
        at(state.picking ? 'traces' : 'spans').focus();
      }
    },
  };

  const IN_SPANS = {
    ArrowDown: () => moveInSpans(1),
    ArrowUp: () => moveInSpans(-1),
    PageDown: () => moveInSpans(20),
    PageUp: () => moveInSpans(-20),
    Home: () => moveInSpans(-Infinity),
    End: () => moveInSpans(Infinity),
    ArrowRight: () => stepInTree(true),
    ArrowLeft: () => stepInTree(false),
    Enter: () => state.row && select(state.row),
  };

  function keysFor(target) {
    if (target === at('traces')) return IN_LIST;
    if (target === at('spans') || target === document.body) return state.model ? IN_SPANS : IN_LIST;
    return {};
  }

  function onFieldKey(event) {
    const field = event.target;
    if (event.key === 'Escape') {
      if (field.value && field.type === 'search') {
        field.value = '';
        field.dispatchEvent(new Event('input'));
      } else field.blur();
    } else if (event.key === 'Enter' || event.key === 'ArrowDown') {
      if (field === at('search')) {
        at('traces').focus();
        moveInList(0);
      } else if (field === at('find')) {
        at('spans').focus();
        moveInSpans(0);
      } else return;
    } else return;
    event.preventDefault();
  }

  function onKey(event) {
    if (at('keys').open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (INPUTS.test(event.target.tagName)) return onFieldKey(event);
    // in the details these keys select text
    const mayPan = event.shiftKey && state.model && !at('details').contains(event.target);
    const pans = mayPan && { ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key];
    const act = pans ? () => pan(pans) : keysFor(event.target)[event.key] || EVERYWHERE[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // ------------------------------------------------------------------------------------------------- dark and light

  function remember(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      /* a page in a file may keep nothing */
    }
  }

  function remembered(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  }

  const isDark = () =>
    (document.documentElement.dataset.theme ||
      (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';

  function switchTheme() {
    const theme = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = theme;
    remember('nxa-theme', theme);
  }

  // ------------------------------------------------------------------------------------------------- begin

  /** Waits until typing pauses. */
  function paused(act) {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(act, 80);
    };
  }

  function listen() {
    const on = (id, event, act) => at(id).addEventListener(event, act);
    for (const id of ['search', 'agent', 'status']) on(id, 'input', refreshList);
    on('find', 'input', paused(refreshSpans));
    on('kind', 'input', refreshSpans);
    on('zoom-in', 'click', () => zoom(0.5));
    on('zoom-out', 'click', () => zoom(2));
    on('fit', 'click', fit);
    on('collapse', 'click', () => setAllClosed(true));
    on('expand', 'click', () => setAllClosed(false));
    on('overview', 'click', toggleOverview);
    on('compare-button', 'click', () => setPicking(true));
    on('picking-end', 'click', endPicking);
    on('compare-end', 'click', () => show({ trace: state.pair[0] }));
    on('swap', 'click', () => show({ compare: state.pair[1], with: state.pair[0] }));
    on('back', 'click', () => show({}));
    on('theme', 'click', switchTheme);
    on('keys-button', 'click', () => at('keys').showModal());
    at('spans').addEventListener('wheel', onWheel, { passive: false });
    on('spans', 'pointerdown', startDrag);
    addEventListener('popstate', arrive);
    addEventListener('keydown', onKey);
    addEventListener('resize', () => state.model && document.body.dataset.view === 'trace' && drawTicks());
  }

  /** Traces are told apart by their ids. */
  function nameNameless() {
    state.traces.forEach((trace, index) => {
      if (typeof trace.id !== 'string') trace.id = `(no id) ${index + 1}`;
    });
  }

  function main() {
    nameNameless();
    const theme = remembered('nxa-theme');
    if (theme) document.documentElement.dataset.theme = theme;
    listen();
    refreshAgents();
    refreshList();
    const only = !location.hash && state.shown.length && !isNarrow() ? state.shown[0] : null;
    if (only) history.replaceState(null, '', `#${new URLSearchParams({ trace: only.id })}`);
    else if (!location.hash && state.shown.length === 1)
      history.replaceState(null, '', `#${new URLSearchParams({ trace: state.shown[0].id })}`);
    arrive().then(() => requestAnimationFrame(() => performance.measure('nxa:open', 'nxa:begin')));
    if (given.live) poll();
  }

  main();
})();
