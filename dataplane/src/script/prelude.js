// What TBEL scripts call by names that begin with "$", what calculated fields are given, and `call`, by which the engine calls
// scripts. Everything that scripts share is frozen: what one changes, another never sees.
(function(helpers, TbDate, own) {
  'use strict';
  const hidden = (object, name, value) => Object.defineProperty(object, name, { value, writable: true, configurable: true });
  const define = (prototype, methods) => { for (const name in methods) hidden(prototype, '$' + name, methods[name]); };
  const same = (a, b) => a === b || (a != null && b != null && JSON.stringify(a) === JSON.stringify(b));
  const keys = Object.keys;
  const isObject = value => value !== null && typeof value === 'object';

  // Java's regular expressions, as far as they are JavaScript's too.
  const regular = (pattern, flags, whole = false) => {
    const [inline, own = ''] = /^\(\?([ims]+)\)/.exec(pattern) || [''], rest = String(pattern).slice(inline.length);
    if (/(?:^|[^\\])(?:\\\\)*\\[pPhHRQEAzZGX]|&&/.test(rest)) throw new Error('the regular expression ' + pattern + ' is not known here');
    return new RegExp(whole ? '^(?:' + rest + ')$' : rest, own + flags);
  };
  // $1, ${name} and \$ of Java.
  const instead = by => String(by).replace(/\\(.)|\$\{(\w+)\}|\$0|\$(?!\d)/gs, (all, plain, name) =>
    all === '$0' ? '$&' : name ? '$<' + name + '>' : plain === undefined || plain === '$' ? '$$' : plain);
  // Texts as texts, numbers as numbers.
  const sorted = (values, ascending = true, of = value => value) => {
    const texts = values.every(value => typeof of(value) === 'string');
    const order = (a, b) => {
      const numbers = !texts && !Number.isNaN(Number(of(a))) && !Number.isNaN(Number(of(b)));
      const [first, second] = numbers ? [Number(of(a)), Number(of(b))] : [String(of(a)), String(of(b))];
      return first < second ? -1 : first > second ? 1 : 0;
    };
    return values.sort(ascending ? order : (a, b) => order(b, a));
  };
  const arranged = (map, pairs) => {
    for (const [key] of pairs) delete map[key];
    for (const [key, value] of pairs) map[key] = value;
  };
  const refill = (set, values) => { set.clear(); for (const value of values) set.add(value); };
  class Entry {
    constructor(key, value) { this.key = key; this.value = value; }
  }

  define(Object.prototype, {
    size() { return keys(this).length; },
    get(key) { return this[key]; },
    put(key, value) { const old = this[key]; this[key] = value; return old; },
    putIfAbsent(key, value) { const old = this[key]; if (old == null) this[key] = value; return old; },
    putAll(other) { Object.assign(this, other); },
    remove(key) { const old = this[key]; delete this[key]; return old; },
    replace(key, a, b) {
      const old = this[key];
      if (arguments.length > 2) { if (old === undefined || !same(old, a)) return false; this[key] = b; return true; }
      if (old !== undefined) this[key] = a;
      return old;
    },
    containsKey(key) { return Object.prototype.hasOwnProperty.call(this, key); },
    containsValue(value) { return keys(this).some(key => same(this[key], value)); },
    getOrDefault(key, value) { return this[key] === undefined ? value : this[key]; },
    keys() { return keys(this); },
    keySet() { return keys(this); },
    values() { return keys(this).map(key => this[key]); },
    entrySet() { return keys(this).map(key => new Entry(key, this[key])); },
    getKey() { return this.key; },
    getValue() { return this.value; },
    isEmpty() { return keys(this).length === 0; },
    clear() { for (const key of keys(this)) delete this[key]; },
    clone() { return Object.assign({}, this); },
    sortByKey(ascending) { arranged(this, sorted(Object.entries(this), ascending, pair => pair[0])); },
    sortByValue(ascending) { arranged(this, sorted(Object.entries(this), ascending, pair => pair[1])); },
    toUnmodifiable() { return Object.freeze(this.$clone()); },
    equals(other) { return same(this.valueOf(), other); },
    toString() { return JSON.stringify(this); },
    length() { return this.length; },
    indexOf(value, from) { return this.indexOf(value, from); },
    lastIndexOf(...given) { return this.lastIndexOf(...given); },
    sort() { this.sort(); return this; },
    reverse() { this.reverse(); return this; },
    push(value) { return this.push(value); },
    pop() { return this.pop(); },
    set(key, value) { return this.set(key, value); },
    split(...given) { return this.split(...given); },
    with(...given) { return this.with(...given); },
    toSorted(...given) { return this.toSorted(...given); },
    toArray() { return this; },
    toList() { return this; },
    compareTo(other) { const a = this.valueOf(); return a < other ? -1 : a > other ? 1 : 0; },
  });
  // `list.size` without parentheses; of a map it is a key.
  Object.defineProperty(Object.prototype, '$count', { get() { return this.size; }, set(value) { this.size = value; } });
  Object.defineProperty(Array.prototype, '$count', { get() { return this.length; } });
  define(Array.prototype, {
    size() { return this.length; },
    add(...given) { if (given.length < 2) this.push(given[0]); else this.splice(given[0], 0, given[1]); return true; },
    addAll(...given) {
      if (given.length < 2) for (const value of given[0]) this.push(value); else this.splice(given[0], 0, ...given[1]);
      return true;
    },
    set(at, value) {
      if (!(at >= 0 && at < this.length)) throw new Error('Index ' + at + ' out of bounds for length ' + this.length);
      const old = this[at];
      this[at] = value;
      return old;
    },
    // A place by its number, or the first of what is no number.
    remove(what) {
      if (typeof what === 'number') return this.splice(what, 1)[0];
      const at = this.$indexOf(what);
      if (at >= 0) this.splice(at, 1);
      return at >= 0;
    },
    removeAll(values) {
      const kept = this.filter(one => !values.$contains(one)), changed = kept.length < this.length;
      if (changed) this.splice(0, this.length, ...kept);
      return changed;
    },
    contains(value) { return this.some(one => same(one, value)); },
    indexOf(value, from = 0) { return this.findIndex((one, at) => at >= from && same(one, value)); },
    lastIndexOf(value) { return this.findLastIndex(one => same(one, value)); },
    isEmpty() { return this.length === 0; },
    clear() { this.length = 0; },
    clone() { return this.slice(); },
    sort(ascending) { sorted(this, ascending); return this; },
    toSorted(ascending) { return sorted(this.slice(), ascending); },
    // Puts it in, and leaves what was there.
    with(at, value) { return this.toSpliced(at < 0 ? at + this.length : at, 0, value); },
    push(value) { this.push(value); return true; },
    subList(from, to) { return this.slice(from, to); },
  });
  define(String.prototype, {
    size() { return this.length; },
    length() { return this.length; },
    isEmpty() { return this.length === 0; },
    isBlank() { return this.trim() === ''; },
    contains(text) { return this.includes(text); },
    equals(other) { return String(this) === other; },
    equalsIgnoreCase(other) { return other != null && this.toLowerCase() === String(other).toLowerCase(); },
    charAt(at) { return this.charAt(at); },
    substring(from, to) { return this.substring(from, to); },
    matches(pattern) { return regular(pattern, '', true).test(this); },
    replace(what, by) { return this.replaceAll(String(what), () => String(by)); },
    replaceAll(pattern, by) { return this.replace(regular(pattern, 'g'), instead(by)); },
    replaceFirst(pattern, by) { return this.replace(regular(pattern, ''), instead(by)); },
    split(pattern, most = 0) {
      const by = regular(pattern, 'g'), text = String(this), parts = [];
      let from = 0, found;
      while ((most <= 0 || parts.length < most - 1) && (found = by.exec(text))) {
        const end = found.index + found[0].length;
        if (found[0] === '') by.lastIndex++;
        if (end === 0) continue;
        parts.push(text.slice(from, found.index));
        from = end;
      }
      if (from === 0) return [text];
      parts.push(text.slice(from));
      while (most === 0 && parts[parts.length - 1] === '') parts.pop();
      return parts;
    },
    toCharArray() { return this.split(''); },
    getBytes() { return helpers.$bytes(String(this)); },
    toUpperCase() { return this.toUpperCase(); },
    toLowerCase() { return this.toLowerCase(); },
    toString() { return String(this); },
    indexOf(text, from) { return this.indexOf(text, from); },
  });
  define(Number.prototype, {
    intValue() { return Math.trunc(this); },
    longValue() { return Math.trunc(this); },
    doubleValue() { return Number(this); },
    floatValue() { return Math.fround(this); },
    toString(radix) { return this.toString(radix); },
  });
  define(Boolean.prototype, { toString() { return String(this); } });
  define(Map.prototype, { size() { return this.size; } });
  define(Set.prototype, {
    size() { return this.size; },
    add(value) { const is = !this.has(value); this.add(value); return is; },
    addAll(values) { const before = this.size; for (const value of values) this.add(value); return this.size > before; },
    contains(value) { return this.has(value); },
    isEmpty() { return this.size === 0; },
    remove(value) { return this.delete(value); },
    clear() { this.clear(); },
    clone() { return new Set(this); },
    sort(ascending) { refill(this, sorted([...this], ascending)); },
    toSorted(ascending) { return new Set(sorted([...this], ascending)); },
    toArray() { return Array.from(this); },
    toList() { return Array.from(this); },
  });
  hidden(Set.prototype, 'toJSON', function() { return Array.from(this); });

  const flat = (value, excluded, paths, path, into) => {
    if (Array.isArray(value) || value instanceof Set) [...value].forEach((one, at) => flat(one, excluded, paths, path + '.' + at, into));
    else if (isObject(value)) {
      for (const key of keys(value)) {
        if (!excluded.includes(key)) flat(value[key], excluded, paths, path ? path + '.' + key : key, into);
      }
    } else into[paths ? path : /[^.]*(?:\.\d+)?$/.exec(path)[0]] = value;
    return into;
  };
  // `new int[3]` and `new int[] {1, 2}`: nothing is added to it.
  class Fixed extends Array {}

  // What calculated fields are given of a rolling argument. What is no number is passed over, unless a call says otherwise.
  class Point {
    constructor(ts, value) { this.ts = ts; this.value = value; }
    getTs() { return this.ts; }
  }
  class Points {
    constructor(timeWindow, values) { this.timeWindow = timeWindow; this.values = values; }
    [Symbol.iterator]() { return this.values[Symbol.iterator](); }
    $size() { return this.values.length; }
    $values() { return this.values; }
    getSize() { return this.values.length; }
    getValues() { return this.values; }
    getTimeWindow() { return this.timeWindow; }
  }
  class Rolling extends Points {
    constructor(timeWindow, values) {
      super(timeWindow, values);
      // Without parentheses it is the value, as in TBEL.
      for (const name of ['max', 'min', 'sum', 'mean', 'avg', 'std', 'median', 'count', 'first', 'last']) {
        const ask = ignoreNaN => Rolling.prototype[name].call(this, ignoreNaN);
        for (const way of ['valueOf', 'toJSON', 'toString']) hidden(ask, way, () => ask());
        hidden(this, name, ask);
      }
    }
    numbers(ignoreNaN) {
      if (this.values.length === 0) throw new Error('Rolling argument values are empty.');
      const numbers = this.values.map(point => point.value);
      return ignoreNaN ? numbers.filter(number => !Number.isNaN(number)) : numbers;
    }
    some(ignoreNaN) {
      const numbers = this.numbers(ignoreNaN);
      if (numbers.length === 0) throw new Error('Rolling argument values are empty.');
      return numbers;
    }
    max(ignoreNaN = true) { return this.some(ignoreNaN).reduce((a, b) => Math.max(a, b)); }
    min(ignoreNaN = true) { return this.some(ignoreNaN).reduce((a, b) => Math.min(a, b)); }
    sum(ignoreNaN = true) { return this.numbers(ignoreNaN).reduce((a, b) => a + b, 0); }
    mean(ignoreNaN = true) { const numbers = this.some(ignoreNaN); return numbers.reduce((a, b) => a + b, 0) / numbers.length; }
    avg(ignoreNaN = true) { return this.mean(ignoreNaN); }
    std(ignoreNaN = true) {
      const mean = this.mean(ignoreNaN), numbers = this.some(ignoreNaN);
      return Math.sqrt(numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0) / numbers.length);
    }
    median(ignoreNaN = true) {
      const numbers = this.some(ignoreNaN);
      if (numbers.some(Number.isNaN)) return NaN;
      numbers.sort((a, b) => a - b);
      const middle = numbers.length >> 1;
      return numbers.length % 2 ? numbers[middle] : (numbers[middle - 1] + numbers[middle]) / 2;
    }
    count(ignoreNaN = true) { return this.values.filter(point => !ignoreNaN || !Number.isNaN(point.value)).length; }
    first(ignoreNaN = true) { return this.some(ignoreNaN)[0]; }
    last(ignoreNaN = true) { const numbers = this.some(ignoreNaN); return numbers[numbers.length - 1]; }
    merge(other, settings) { return this.mergeAll([other], settings); }
    mergeAll(others, settings) {
      const all = [this, ...others], ignoreNaN = !settings || String(settings.ignoreNaN) !== 'false';
      const window = (settings && settings.timeWindow) || {
        startTs: Math.min(...all.map(one => one.timeWindow.startTs)), endTs: Math.max(...all.map(one => one.timeWindow.endTs)),
      };
      const times = [...new Set(all.flatMap(one => one.values.map(point => point.ts)))].sort((a, b) => a - b);
      const next = all.map(() => 0), newest = all.map(() => NaN), merged = [];
      for (const ts of times) {
        all.forEach((one, at) => {
          while (next[at] < one.values.length && one.values[next[at]].ts <= ts) newest[at] = one.values[next[at]++].value;
        });
        const within = !(settings && settings.timeWindow) || (ts >= window.startTs && ts < window.endTs);
        if (!within || (ignoreNaN && newest.some(Number.isNaN))) continue;
        const row = { ts, values: newest.slice() };
        newest.forEach((value, at) => { row['v' + (at + 1)] = value; });
        merged.push(row);
      }
      return new Points(window, merged);
    }
  }
  define(Point.prototype, { getValue() { return this.value; } });
  // `given` as ThingsBoard writes arguments: single ones come as their value, and whole in `ctx.args`.
  const calculate = (given, names, script) => {
    const args = {};
    let latestTs = -1;
    for (const name of names) {
      const argument = given[name];
      const points = argument.values && argument.values.map(point => new Point(point.ts, point.value === null ? NaN : point.value));
      args[name] = points ? new Rolling(argument.timeWindow, points) : argument;
      for (const { ts } of points || [argument]) if (ts > latestTs) latestTs = ts;
    }
    const answer = script({ args, latestTs }, ...names.map(name => args[name] instanceof Rolling ? args[name] : args[name].value));
    return answer === undefined ? null : answer;
  };

  const functions = {
    ...helpers,
    $calculate: calculate,
    $Date: TbDate,
    $each: values => values == null ? [] : values instanceof Points ? values.values : Array.isArray(values) || values instanceof Set || typeof values === 'string' ? values : values.$entrySet(),
    $int: value => { const whole = Math.trunc(Number(value)); if (Number.isNaN(whole)) throw new Error('no int: ' + value); return whole | 0; },
    $long: value => { const whole = Math.trunc(Number(value)); if (Number.isNaN(whole)) throw new Error('no long: ' + value); return whole; },
    $double: value => { const number = Number(value); if (Number.isNaN(number)) throw new Error('no double: ' + value); return number; },
    $map: other => Object.assign({}, other),
    $list: other => Array.from(other || []),
    $set: other => new Set(other || []),
    $array: (given, empty) => Object.seal(Array.isArray(given) ? Fixed.from(given) : Fixed.from({ length: functions.$int(given) }, () => empty)),
    newSet: () => new Set(),
    toSet: values => new Set(values),
    toFlatMap: (map, excluded, paths = true) => flat(map, Array.isArray(excluded) ? excluded : [], excluded !== false && paths, '', {}),
    isMap: value => isObject(value) && !Array.isArray(value) && !(value instanceof Set) && !(value instanceof TbDate),
    isList: value => Array.isArray(value) && !(value instanceof Fixed),
    isArray: value => value instanceof Fixed,
    isSet: value => value instanceof Set,
  };
  for (const name in functions) hidden(globalThis, name, functions[name]);

  // No source becomes code but the scripts themselves.
  const Function = (function() {}).constructor;
  hidden(Function.prototype, 'constructor', undefined);
  for (const other of [function*() {}, async function() {}, async function*() {}]) {
    hidden(Object.getPrototypeOf(other), 'constructor', undefined);
  }
  for (const name of ['eval', 'Function']) delete globalThis[name];

  const frozen = new Set();
  const freeze = value => {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || frozen.has(value)) return;
    frozen.add(value);
    for (const key of Reflect.ownKeys(value)) {
      const property = Object.getOwnPropertyDescriptor(value, key);
      freeze(property.value);
      freeze(property.get);
      freeze(property.set);
    }
    freeze(Object.getPrototypeOf(value));
    Object.freeze(value);
  };
  const builtin = Reflect.ownKeys(globalThis);
  for (const name of builtin) {
    if (name === 'globalThis') continue;
    freeze(globalThis[name]);
    Object.defineProperty(globalThis, name, { writable: false, configurable: false });
  }
  for (const other of [[][Symbol.iterator](), ''[Symbol.iterator](), function*() {}, async function() {}, /x/, new Date(0), new Rolling(null, []), new Point(0, 0), new Entry(), new Fixed()]) {
    freeze(Object.getPrototypeOf(other));
  }

  const { parse, stringify } = own;
  return function(script, msg, metadata, msgType) {
    try {
      return stringify(script(parse(msg), parse(metadata), msgType));
    } finally {
      // Names that a script did not declare.
      for (const name of keys(globalThis)) delete globalThis[name];
    }
  };
})
