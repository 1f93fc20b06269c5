// Bounds what natives take: the engine looks at the clock between the steps of a script, and every so many of them, so a native that is
// slow by itself, or called again and again, would hold up the shard. Evaluated before the prelude, which freezes what is here; never
// changes what a call that is allowed answers. `late` says whether the script's time is over. Gives out BigInt, for the helpers alone:
// its operators are natives that nothing can be put in front of. And JSON's own functions, for what the engine itself reads and writes once
// a call.
(function(late) {
  'use strict';
  const { apply, construct, getOwnPropertyDescriptor, ownKeys } = Reflect, { isArray } = Array;
  const { parse, stringify } = JSON;
  const CHARACTERS_MAX = 1 << 19, ELEMENTS_MAX = 1 << 19, SEARCH_MAX = 1 << 23, PATTERN_MAX = 1 << 11, SHORT = 1 << 8, LOOK = 1 << 16;
  const wrap = (object, names, guard) => {
    for (const name of names) {
      const own = object[name];
      const value = { [name](...given) { return guard(own, this, given, name); } }[name];
      Object.defineProperty(object, name, { value });
    }
  };
  const methods = (object, others) => ownKeys(object).filter(name =>
    typeof getOwnPropertyDescriptor(object, name).value === 'function' && !others.includes(name));
  // Characters and elements that natives went through since somebody looked at the clock: most scripts never look, so that on a busy
  // machine none of them fails for the time that others took.
  let work = 0;
  const look = size => {
    work += size;
    if (work <= LOOK) return;
    if (late()) throw new Error('the time is over');
    work = 0;
  };
  const within = (size, most, what) => {
    if (size > most) throw new RangeError(size + ' ' + what + ', at most ' + most);
    look(size);
  };
  const textOf = value => {
    const text = typeof value === 'string' ? value : `${value}`;
    within(text.length, CHARACTERS_MAX, 'characters');
    return text;
  };

  // Texts: a search may take as many steps as both lengths say multiplied. Most are short, and go on at once.
  const texts = (names, guard) => {
    for (const name of names) {
      const own = String.prototype[name];
      const value = { [name](what, at) {
        const short = typeof this === 'string' && this.length <= SHORT && typeof what === 'string' && what.length <= SHORT;
        if (short) return own.call(this, what, at);
        if (this == null) throw new TypeError('no text: ' + this);
        return guard(own, textOf(this), [...arguments], name);
      } }[name];
      Object.defineProperty(String.prototype, name, { value });
    }
  };
  const search = (own, text, given) => {
    const needle = given[0] = `${given[0]}`;
    within((text.length - needle.length + 1) * needle.length, SEARCH_MAX, 'steps of a search');
    return apply(own, text, given);
  };
  // A pattern has a method of its own for this.
  const by = (symbol, otherwise) => (own, text, given, name) => {
    const what = given[0], method = typeof what === 'object' && what !== null ? what[symbol] : null;
    if (method == null) return otherwise(own, text, given);
    if (name.endsWith('All') && !`${what.flags}`.includes('g')) throw new TypeError(name + ': expected a global RegExp');
    return apply(method, what, [text, given[1]]);
  };
  const pattern = (own, text, given) => {
    if (given[0] !== undefined) within((given[0] = `${given[0]}`).length, PATTERN_MAX, 'characters of a pattern');
    return apply(own, text, given);
  };
  const atOnce = ['constructor', 'at', 'charAt', 'charCodeAt', 'codePointAt', 'toString', 'valueOf', Symbol.iterator];
  const guarded = ['indexOf', 'lastIndexOf', 'includes', 'split', 'replace', 'replaceAll', 'match', 'matchAll', 'search', 'repeat',
    'padStart', 'padEnd'];
  texts(['indexOf', 'lastIndexOf', 'includes'], search);
  texts(['split'], by(Symbol.split, (own, text, given) => given[0] === undefined ? apply(own, text, given) : search(own, text, given)));
  texts(['replace', 'replaceAll'], by(Symbol.replace, search));
  texts(['match'], by(Symbol.match, pattern));
  texts(['matchAll'], by(Symbol.matchAll, pattern));
  texts(['search'], by(Symbol.search, pattern));
  wrap(String.prototype, ['repeat', 'padStart', 'padEnd'], (own, self, given, name) => {
    const text = textOf(self), count = given[0] = +given[0];
    if (count > 0) look(name === 'repeat' ? count * text.length : count);
    return apply(own, text, given);
  });
  wrap(String.prototype, methods(String.prototype, [...atOnce, ...guarded]), (own, self, given) => {
    if (self == null) throw new TypeError('no text: ' + self);
    return apply(own, textOf(self), given);
  });
  // It reads as many elements as somebody says there are.
  delete String.raw;
  wrap(globalThis, ['escape', 'unescape', 'encodeURI', 'encodeURIComponent', 'decodeURI', 'decodeURIComponent'],
    (own, self, [text]) => own(textOf(text)));
  wrap(JSON, ['parse'], (own, self, given) => apply(own, self, [textOf(given[0]), given[1]]));
  wrap(JSON, ['stringify'], (own, self, given) => {
    look(LOOK >> 6);
    const text = apply(own, self, given);
    if (text) work += text.length;
    return text;
  });

  const Pattern = RegExp;
  wrap(Pattern.prototype, ['test', Symbol.match, Symbol.matchAll, Symbol.replace, Symbol.search, Symbol.split],
    (own, self, given) => { given[0] = textOf(given[0]); return apply(own, self, given); });
  delete Pattern.prototype.compile;
  globalThis.RegExp = function RegExp(pattern, flags) {
    const known = pattern instanceof Pattern;
    if (!known && pattern !== undefined) within((pattern = `${pattern}`).length, PATTERN_MAX, 'characters of a pattern');
    return construct(Pattern, [pattern, flags], new.target || Pattern);
  };
  RegExp.prototype = Pattern.prototype;
  Object.defineProperty(Pattern.prototype, 'constructor', { value: RegExp });

  // Arrays: one may say that it has four thousand million elements, and have none of them.
  const listed = self => {
    const length = self == null ? undefined : getOwnPropertyDescriptor(Object(self), 'length');
    if (!length || typeof length.value !== 'number') throw new TypeError('expected an array');
    within(length.value, ELEMENTS_MAX, 'elements');
    return self;
  };
  const flat = (from, depth, into) => {
    for (let at = 0; at < from.length; at++) {
      if (!(at in from)) continue;
      if (depth > 0 && isArray(from[at])) flat(from[at], depth - 1, into); else into.push(from[at]);
    }
    return into;
  };
  const inOrder = (a, b) => {
    a = textOf(a), b = textOf(b);
    return a < b ? -1 : a > b ? 1 : 0;
  };
  const { map } = Array.prototype;
  wrap(Array.prototype, ['copyWithin', 'fill', 'join', 'reverse', 'shift', 'slice', 'splice', 'toLocaleString', 'toReversed',
    'toSpliced', 'unshift', 'with'], (own, self, given) => apply(own, listed(self), given));
  wrap(Array.prototype, ['sort', 'toSorted'], (own, self, [compare = inOrder]) => apply(own, listed(self), [compare]));
  wrap(Array.prototype, ['concat'], (own, self, given) =>
    apply(own, listed(self), given.map(one => isArray(one) ? listed(one) : [one])));
  wrap(Array.prototype, ['flat'], (own, self, [depth = 1]) => flat(listed(self), +depth, []));
  wrap(Array.prototype, ['flatMap'], (own, self, given) => flat(apply(map, self, given), 1, []));
  const Typed = Object.getPrototypeOf(Uint8Array.prototype);
  const lengthOf = getOwnPropertyDescriptor(Typed, 'length').get;
  wrap(Typed, methods(Typed, ['constructor', 'at', 'subarray', 'toString', 'values', 'keys', 'entries', Symbol.iterator]),
    (own, self, given) => { within(apply(lengthOf, self, []), ELEMENTS_MAX, 'elements'); return apply(own, self, given); });
  // What goes through such an array by itself.
  for (const name of methods(Iterator.prototype, [Symbol.iterator])) delete Iterator.prototype[name];
  delete globalThis.Iterator;
  delete Array.fromAsync;

  const big = BigInt;
  for (const name of ['BigInt', 'BigInt64Array', 'BigUint64Array']) delete globalThis[name];
  for (const name of ['getBigInt64', 'getBigUint64', 'setBigInt64', 'setBigUint64']) delete DataView.prototype[name];
  return { BigInt: big, parse, stringify };
})
