// What TBEL scripts call by names that begin with "$", ThingsBoard's helper functions, and `call`, by which the engine calls
// scripts. Everything that scripts share is frozen: what one changes, another never sees.
(function() {
  'use strict';
  const hidden = (object, name, value) => Object.defineProperty(object, name, { value, writable: true, configurable: true });
  const define = (prototype, methods) => { for (const name in methods) hidden(prototype, '$' + name, methods[name]); };
  const same = (a, b) => a === b || (a != null && b != null && JSON.stringify(a) === JSON.stringify(b));
  const keys = Object.keys;

  define(Object.prototype, {
    size() { return keys(this).length; },
    get(key) { return this[key]; },
    put(key, value) { const old = this[key]; this[key] = value; return old; },
    putAll(other) { Object.assign(this, other); },
    remove(key) { const old = this[key]; delete this[key]; return old; },
    containsKey(key) { return Object.prototype.hasOwnProperty.call(this, key); },
    containsValue(value) { return keys(this).some(key => same(this[key], value)); },
    getOrDefault(key, value) { return this[key] === undefined ? value : this[key]; },
    keySet() { return keys(this); },
    values() { return keys(this).map(key => this[key]); },
    entrySet() { return keys(this).map(key => ({ key, value: this[key] })); },
    getKey() { return this.key; },
    getValue() { return this.value; },
    isEmpty() { return keys(this).length === 0; },
    clear() { for (const key of keys(this)) delete this[key]; },
    equals(other) { return same(this.valueOf(), other); },
    toString() { return JSON.stringify(this); },
    length() { return this.length; },
    indexOf(value) { return this.indexOf(value); },
    sort() { this.sort(); return this; },
    reverse() { this.reverse(); return this; },
    push(value) { return this.push(value); },
    toArray() { return this; },
    compareTo(other) { const a = this.valueOf(); return a < other ? -1 : a > other ? 1 : 0; },
  });
  define(Array.prototype, {
    size() { return this.length; },
    add(a, b) { if (b === undefined) this.push(a); else this.splice(a, 0, b); return true; },
    addAll(values) { for (const value of values) this.push(value); return true; },
    remove(at) { return this.splice(at, 1)[0]; },
    contains(value) { return this.some(one => same(one, value)); },
    indexOf(value) { return this.findIndex(one => same(one, value)); },
    isEmpty() { return this.length === 0; },
    clear() { this.length = 0; },
    sort() { this.sort((a, b) => a < b ? -1 : a > b ? 1 : 0); return this; },
  });
  define(String.prototype, {
    size() { return this.length; },
    length() { return this.length; },
    isEmpty() { return this.length === 0; },
    contains(text) { return this.includes(text); },
    equals(other) { return String(this) === other; },
    equalsIgnoreCase(other) { return other != null && this.toLowerCase() === String(other).toLowerCase(); },
    charAt(at) { return this.charAt(at); },
    substring(from, to) { return this.substring(from, to); },
    matches(pattern) { return new RegExp('^(?:' + pattern + ')$').test(this); },
    replaceAll(pattern, by) { return this.replace(new RegExp(pattern, 'g'), by); },
    toUpperCase() { return this.toUpperCase(); },
    toLowerCase() { return this.toLowerCase(); },
    toString() { return String(this); },
    indexOf(text) { return this.indexOf(text); },
  });
  define(Number.prototype, {
    intValue() { return Math.trunc(this); },
    longValue() { return Math.trunc(this); },
    doubleValue() { return Number(this); },
    floatValue() { return Math.fround(this); },
    toString() { return String(this); },
  });
  define(Boolean.prototype, { toString() { return String(this); } });
  define(Map.prototype, { size() { return this.size; } });
  define(Set.prototype, {
    size() { return this.size; },
    add(value) { const is = !this.has(value); this.add(value); return is; },
    contains(value) { return this.has(value); },
    isEmpty() { return this.size === 0; },
    remove(value) { return this.delete(value); },
    toArray() { return Array.from(this); },
  });
  hidden(Set.prototype, 'toJSON', function() { return Array.from(this); });

  const bytesOf = text => {
    const bytes = [];
    for (const c of unescape(encodeURIComponent(text))) bytes.push(c.charCodeAt(0) << 24 >> 24);
    return bytes;
  };
  const textOf = bytes => decodeURIComponent(escape(bytes.map(byte => String.fromCharCode(byte & 255)).join('')));
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const toBase64 = bytes => {
    let text = '';
    for (let i = 0; i < bytes.length; i += 3) {
      const [a, b, c] = [bytes[i] & 255, bytes[i + 1] & 255, bytes[i + 2] & 255];
      text += alphabet[a >> 2] + alphabet[(a & 3) << 4 | b >> 4];
      text += i + 1 < bytes.length ? alphabet[(b & 15) << 2 | c >> 6] : '=';
      text += i + 2 < bytes.length ? alphabet[c & 63] : '=';
    }
    return text;
  };
  const fromBase64 = text => {
    const bytes = [];
    let bits = 0, count = 0;
    for (const c of text.replace(/[=\s]/g, '')) {
      const value = alphabet.indexOf(c);
      if (value < 0) throw new Error('no base64: ' + c);
      bits = bits << 6 | value;
      count += 6;
      if (count >= 8) { count -= 8; bytes.push((bits >> count & 255) << 24 >> 24); bits &= (1 << count) - 1; }
    }
    return bytes;
  };
  const toHex = bytes => bytes.map(byte => (byte & 255).toString(16).padStart(2, '0')).join('');
  const fromHex = text => {
    const digits = text.replace(/^0[xX]/, '');
    if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) throw new Error('no hexadecimal bytes: ' + text);
    return (digits.match(/../g) || []).map(pair => parseInt(pair, 16) << 24 >> 24);
  };
  const part = (bytes, offset, length, big) => {
    const those = bytes.slice(offset, offset + length).map(byte => byte & 255);
    if (those.length < length) throw new Error('there are fewer than ' + (offset + length) + ' bytes');
    return big ? those : those.reverse();
  };
  const integer = (bytes, offset = 0, length = bytes.length - offset, big = true) => {
    if (length > 4) throw new Error('an int has at most 4 bytes');
    const value = part(bytes, offset, length, big).reduce((sum, byte) => sum * 256 + byte, 0);
    return length === 4 ? value | 0 : value;
  };
  const long = (bytes, offset = 0, length = bytes.length - offset, big = true) => {
    if (length > 8) throw new Error('a long has at most 8 bytes');
    const value = part(bytes, offset, length, big).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
    return Number(length === 8 ? BigInt.asIntN(64, value) : value);
  };
  const real = (bytes, offset, length, big) => {
    const view = new DataView(new ArrayBuffer(length));
    part(bytes, offset, length, big).forEach((byte, at) => view.setUint8(at, byte));
    return length === 4 ? view.getFloat32(0) : view.getFloat64(0);
  };
  const hexInteger = (text, big) => {
    const bytes = fromHex(text.replace(/^0[xX]/, '').length % 2 ? '0' + text.replace(/^0[xX]/, '') : text);
    return integer(bytes, 0, bytes.length, big);
  };
  const flat = (value, excluded, path, into) => {
    if (value !== null && typeof value === 'object') {
      for (const key of keys(value)) {
        if (!excluded.includes(key)) flat(value[key], excluded, path ? path + '.' + key : key, into);
      }
    } else into[path] = value;
    return into;
  };

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
    $calculate: calculate,
    $each: values => values == null ? [] : values instanceof Points ? values.values : Array.isArray(values) || values instanceof Set ? values : typeof values === 'string' ? values : keys(values).map(key => values[key]),
    $int: value => { const whole = Math.trunc(Number(value)); if (Number.isNaN(whole)) throw new Error('no int: ' + value); return whole | 0; },
    $long: value => { const whole = Math.trunc(Number(value)); if (Number.isNaN(whole)) throw new Error('no long: ' + value); return whole; },
    $double: value => { const number = Number(value); if (Number.isNaN(number)) throw new Error('no double: ' + value); return number; },
    $text: value => value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value),
    $map: other => Object.assign({}, other),
    $list: other => Array.from(other || []),
    $set: other => new Set(other || []),
    toFixed: (value, digits) => Number(Number(value).toFixed(digits)),
    toInt: value => Math.round(value) | 0,
    parseLong: (text, radix = 10) => parseInt(text, radix),
    parseDouble: text => parseFloat(text),
    btoa: text => toBase64(bytesOf(text)),
    atob: text => textOf(fromBase64(text)),
    stringToBytes: text => bytesOf(text),
    bytesToString: bytes => textOf(bytes),
    decodeToString: bytes => textOf(bytes),
    decodeToJson: bytes => JSON.parse(textOf(bytes)),
    bytesToHex: bytes => toHex(bytes),
    hexToBytes: text => fromHex(text),
    bytesToBase64: bytes => toBase64(bytes),
    base64ToBytes: text => fromBase64(text),
    base64ToHex: text => toHex(fromBase64(text)),
    parseHexToInt: (text, big = true) => hexInteger(text, big),
    parseLittleEndianHexToInt: text => hexInteger(text, false),
    parseBigEndianHexToInt: text => hexInteger(text, true),
    parseBytesToInt: (bytes, offset, length, big) => integer(bytes, offset, length, big),
    parseBytesToLong: (bytes, offset, length, big) => long(bytes, offset, length, big),
    parseBytesToFloat: (bytes, offset = 0, length = 4, big = true) => real(bytes, offset, 4, big),
    parseBytesToDouble: (bytes, offset = 0, length = 8, big = true) => real(bytes, offset, 8, big),
    parseHexToFloat: (text, big = true) => real(fromHex(text), 0, 4, big),
    parseHexToDouble: (text, big = true) => real(fromHex(text), 0, 8, big),
    toFlatMap: (map, excluded) => flat(map, Array.isArray(excluded) ? excluded : [], '', {}),
    raiseError: message => { throw new Error(message); },
    isMap: value => value !== null && typeof value === 'object' && !Array.isArray(value),
    isList: value => Array.isArray(value),
    isArray: value => Array.isArray(value),
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
  for (const other of [[][Symbol.iterator](), ''[Symbol.iterator](), function*() {}, async function() {}, /x/, new Date(0), new Rolling(null, []), new Point(0, 0)]) {
    freeze(Object.getPrototypeOf(other));
  }

  const { parse, stringify } = JSON;
  return function(script, msg, metadata, msgType) {
    try {
      return stringify(script(parse(msg), parse(metadata), msgType));
    } finally {
      // Names that a script did not declare.
      for (const name of keys(globalThis)) delete globalThis[name];
    }
  };
})()
