// ThingsBoard's helper functions for bytes, numbers and texts, and what scripts may ask of Java's own classes. Integers of 64 bits
// are exact up to 2^53, as everywhere here.
(function(within) {
  'use strict';
  const fail = text => { throw new Error(text); };

  // Bytes and texts.
  const signed = byte => byte << 24 >> 24;
  const rawOf = text => unescape(encodeURIComponent(text));
  const bytesOf = text => Array.from(rawOf(text), c => signed(c.charCodeAt(0)));
  // What is no UTF-8 is U+FFFD, each time for as many bytes as could have begun a character.
  const mended = bytes => {
    let text = '';
    for (let i = 0; i < bytes.length;) {
      const first = bytes[i++] & 255;
      const more = first < 0x80 ? 0 : first < 0xc2 || first > 0xf4 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
      let code = more < 1 ? first : first & (63 >> more), taken = 0;
      for (; taken < more; taken++, i++) {
        const next = bytes[i] & 255;
        const least = taken ? 0x80 : { 0xe0: 0xa0, 0xf0: 0x90 }[first] || 0x80, most = taken ? 0xbf : { 0xed: 0x9f, 0xf4: 0x8f }[first] || 0xbf;
        if (next < least || next > most) break;
        code = code << 6 | next & 63;
      }
      text += taken < more || more < 0 ? '\ufffd' : String.fromCodePoint(code);
    }
    return text;
  };
  const charset = name => {
    const plain = String(name).toUpperCase().replace(/[-_]/g, '');
    return { UTF8: 'utf8', USASCII: 'ascii', ASCII: 'ascii', ISO88591: 'latin', LATIN1: 'latin' }[plain] || fail('the charset ' + name + ' is not known here');
  };
  const textOf = (bytes, name = 'utf8') => {
    const of = charset(name), raw = bytes.map(byte => String.fromCharCode(byte & 255)).join('');
    if (of !== 'utf8') return of === 'latin' ? raw : raw.replace(/[\x80-\xff]/g, '\ufffd');
    try {
      return decodeURIComponent(escape(raw));
    } catch (e) {
      return mended(bytes);
    }
  };
  const byteOf = value => {
    const byte = typeof value === 'string' ? whole(value, 0, true, 32) : value;
    return Number.isInteger(byte) && byte >= -128 && byte <= 255 ? byte : fail('no byte: ' + value);
  };
  const bytesFrom = (text, name = 'utf8') => {
    if (typeof text !== 'string') fail('no text: ' + text);
    const of = charset(name);
    return of === 'utf8' ? bytesOf(text) : Array.from(text, c => signed(c.charCodeAt(0) > (of === 'latin' ? 255 : 127) ? 63 : c.charCodeAt(0)));
  };
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
      if (value < 0) fail('no base64: ' + c);
      bits = bits << 6 | value;
      count += 6;
      if (count >= 8) { count -= 8; bytes.push(signed(bits >> count & 255)); bits &= (1 << count) - 1; }
    }
    return bytes;
  };
  const toHex = bytes => bytes.map(byte => (byte & 255).toString(16).padStart(2, '0')).join('').toUpperCase();
  const fromHex = text => {
    const digits = prepared(text) || fail('no hexadecimal bytes');
    if (digits.length % 2 || radixIs(16, text) < 0) fail('no hexadecimal bytes: ' + text);
    return digits.match(/../g).map(pair => signed(parseHex(pair)));
  };
  const parseHex = pair => Number(digits(pair, 16, 32));

  // Texts to numbers.
  const isNumber = {
    2: /^[01]+$/, 8: /^[0-7]+$/, 10: /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/, 16: /^-?(0[xX])?[0-9a-fA-F]+$/,
  };
  const radixIs = (radix, text) => text != null && isNumber[radix].test(text) ? radix : -1;
  const reversed = text => {
    const [, prefix, digits] = /^(0x)?(.*)$/.exec(text);
    if (/^-/.test(text) || digits.length % 2) fail('no hexadecimal bytes to reverse: ' + text);
    return (prefix || '') + (digits.match(/../g) || []).reverse().join('');
  };
  const prepared = (value, big = true) => {
    if (value == null || String(value).trim() === '') return null;
    const text = String(value).trim().replace(/0x/g, '').replace(/0X/g, '').replace(/,/g, '.');
    return big ? text : reversed(text);
  };
  const radixOf = (text, radix, value) => {
    if (radix >= 25 && radix <= 36) return radix;
    if (radix && !isNumber[radix]) fail('Invalid radix: [' + radix + ']');
    let found = radix ? radixIs(radix, text) : radixIs(10, text);
    if (!radix && found < 0) found = radixIs(16, text);
    if (found < 0) fail('"' + value + '" is no number' + (radix ? ' of radix ' + radix : ''));
    if (String(value).startsWith('0x')) found = 16;
    if (found === 16 && String(value).replace(/^-/, '').length % 2) fail('"' + value + '" has an odd number of hexadecimal digits');
    return found;
  };
  // As Java reads its int and long: no blank, no point, nothing beyond.
  const digits = (text, radix, bits) => {
    const refuse = () => fail('For input string: "' + text + '"');
    const [, sign, all] = /^([+-]?)0*([0-9a-zA-Z]+)$/.exec(text) || refuse();
    if (all.length > 64) refuse();
    let sum = 0n;
    for (const c of all) {
      const digit = '0123456789abcdefghijklmnopqrstuvwxyz'.indexOf(c.toLowerCase());
      if (digit >= radix) refuse();
      sum = sum * BigInt(radix) + BigInt(digit);
    }
    const value = sign === '-' ? -sum : sum;
    return BigInt.asIntN(bits, value) === value ? value : refuse();
  };
  const whole = (value, radix, big, bits) => {
    const text = prepared(value, big);
    if (text === null) return null;
    const found = radixOf(text, radix, value);
    if (found !== 2 || text.length < bits || text[0] === '0') return Number(digits(text, found, bits));
    // Of two's complement.
    return Number(digits(String(BigInt.asIntN(text.length, digits(text, 2, 65))), 10, bits));
  };
  const view = new DataView(new ArrayBuffer(8));
  // A float as its text says: the shortest number that is nearest to it, unless it is whole.
  const short = value => {
    const near = Math.fround(value);
    if (Number.isInteger(near)) return near;
    for (let count = 1; count < 9; count++) {
      if (Math.fround(Number(near.toPrecision(count))) === near) return Number(near.toPrecision(count));
    }
    return Number(near.toPrecision(9));
  };
  const ofBits = (bits, size) => {
    const both = BigInt.asUintN(64, size === 4 ? bits << 32n : bits);
    view.setUint32(0, Number(both >> 32n));
    view.setUint32(4, Number(both & 0xffffffffn));
    return size === 4 ? short(view.getFloat32(0)) : view.getFloat64(0);
  };
  const real = (text, size) => /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfF]?$/.test(text.trim())
    ? (size === 4 ? short : Number)(Number(text.trim().replace(/[dDfF]$/, '')))
    : /^[+-]?(NaN|Infinity)$/.test(text.trim()) ? Number(text) : fail('For input string: "' + text + '"');
  const floating = (value, radix, big, size) => {
    const text = prepared(value, big);
    if (text === null) return null;
    const isHex = radixOf(text, radix, value) === 16;
    return isHex ? ofBits(digits(text, 16, 65), size) : real(size === 4 ? String(value) : text, size);
  };
  const exactFloat = (value, big) => {
    const text = prepared(value, big);
    if (text === null) return null;
    radixOf(text, 16, value);
    return short(Number(BigInt.asIntN(32, digits(text, 16, 64))));
  };

  // Numbers to texts.
  const integer = value => {
    const number = Math.trunc(Number(value));
    if (Number.isNaN(number) || value === null) fail('no number: ' + value);
    return number >= 2 ** 63 ? 2n ** 63n - 1n : number < -(2 ** 63) ? -(2n ** 63n) : BigInt(number);
  };
  const unsigned = (value, bits, radix) => BigInt.asUintN(bits, integer(value)).toString(radix);
  const hexText = (value, big, prefix, length, most) => {
    const negative = integer(value) < 0n, even = (text, by) => text.length % 2 ? by + text : text;
    let text = even(unsigned(value, 64, 16).toUpperCase(), '0');
    if (negative) {
      const least = even(text.replace(/^F+(?!$)/, ''), 'F');
      text = least.length < (most || text.length) ? 'FF' + least : least.slice(-(most || text.length));
    }
    if (!big) text = reversed(text);
    if (length > text.length) fail('there are fewer than ' + length + ' digits');
    return (prefix ? '0x' : '') + (length < 0 ? text : text.slice(text.length - length));
  };
  const radixText = (value, radix = 10, big = true, prefix = false) => {
    if (radix >= 25 && radix <= 36) return integer(value).toString(radix);
    const binary = () => { const text = unsigned(value, 64, 2); return text.padStart([8, 16, 32, 64].find(width => text.length < width) || 0, '0'); };
    return radix === 2 ? binary() : radix === 8 ? unsigned(value, 64, 8) : radix === 10 ? String(integer(value))
      : radix === 16 ? hexText(value, big, prefix, -1, 0) : fail('Invalid radix: [' + radix + ']');
  };
  const bitsText = (set, size, big) => {
    set();
    const text = '0x' + toHex(Array.from({ length: size }, (_, at) => view.getUint8(at)));
    return big ? text : reversed(text);
  };
  // A number's decimal digits, rounded half up to so many behind the point, without the point.
  const rounded = (number, places) => {
    if (!Number.isFinite(number)) fail('no finite number: ' + number);
    const [mantissa, exponent] = Math.abs(number).toExponential().split('e');
    const all = mantissa.replace('.', ''), keep = 1 + Number(exponent) + places;
    const kept = all.slice(0, Math.max(keep, 0)).padEnd(keep, '0') || '0';
    return keep >= 0 && all[keep] >= '5' ? String(BigInt(kept) + 1n) : kept;
  };
  const toFixed = (value, places) => {
    const number = Number(value), count = Math.trunc(Number(places));
    if (Number.isNaN(count)) fail('no number of digits: ' + places);
    // No double has more.
    return count > 340 ? number : Number((number < 0 ? '-' : '') + rounded(number, count) + 'e' + -count) + 0;
  };
  const text = value => value == null ? String(value) : value.$toString();
  const fixedText = (number, places) => {
    const all = rounded(number, places).padStart(places + 1, '0');
    return places ? all.slice(0, all.length - places) + '.' + all.slice(all.length - places) : all;
  };
  const format = (pattern, ...values) => {
    let at = 0;
    return String(pattern).replace(/%(?:(\d+)\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])/g, (all, place, flags, width, precision, letter) => {
      if (letter === 'n' || letter === '%') return letter === 'n' ? '\n' : '%';
      const index = place ? place - 1 : at++, value = values[index];
      if (index >= values.length) fail('String.format: there is no value for ' + all);
      if (/[#(]/.test(flags)) fail('String.format: ' + all + ' is not known here');
      let said = '', sign = '';
      if (letter === 's' || letter === 'S' || letter === 'c') said = text(value).slice(0, precision);
      else if (letter === 'b' || letter === 'B') said = String(typeof value === 'boolean' ? value : value != null);
      else {
        if (typeof value !== 'number') fail('String.format: no number for ' + all);
        if (letter !== 'f' && !Number.isInteger(value)) fail('String.format: no whole number for ' + all);
        sign = value < 0 && 'df'.includes(letter) ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '';
        if (letter === 'd') said = String(integer(Math.abs(value)));
        else if (letter === 'f') said = Number.isFinite(value) ? fixedText(value, precision === undefined ? 6 : Number(precision)) : String(Math.abs(value));
        else if ('xXo'.includes(letter)) said = unsigned(value, value >= -(2 ** 31) ? 32 + 32 * (value >= 2 ** 32) : 64, letter === 'o' ? 8 : 16);
        else fail('String.format: ' + all + ' is not known here');
        if (flags.includes(',')) said = said.replace(/^\d+/, whole => whole.replace(/\B(?=(\d{3})+$)/g, ','));
        if (flags.includes('0')) said = said.padStart(Number(width || 0) - sign.length, '0');
      }
      said = sign + (letter >= 'A' && letter <= 'Z' ? said.toUpperCase() : said);
      return flags.includes('-') ? said.padEnd(Number(width || 0)) : said.padStart(Number(width || 0));
    });
  };

  // Bytes to numbers.
  const some = (bytes, offset, length, most, big) => {
    if (offset < 0 || length < 0 || offset + length > bytes.length) fail('of ' + bytes.length + ' bytes there are none from ' + offset + ' to ' + (offset + length));
    if (length > most) fail('Length: ' + length + ' is too large. Maximum ' + most + ' bytes is allowed!');
    const those = bytes.slice(offset, offset + length).map(byte => byte & 255);
    return big ? those : those.reverse();
  };
  const rest = (bytes, offset, most) => bytes.length < offset ? bytes.length : Math.min(bytes.length - offset, most);
  // Of what a script may have made: no method of its own is called, which would be given a BigInt.
  const sum = bytes => {
    let sum = 0n;
    for (const byte of Array.from(bytes).slice(0, 8)) sum = sum << 8n | BigInt(byte & 255);
    return sum;
  };
  const reader = (most, read) => (bytes, offset = 0, length = rest(bytes, offset, most), big = true) => read(some(bytes, offset, length, most, big));
  const numberIn = size => those => {
    const value = ofBits(sum(those), size);
    return Number.isNaN(value) ? fail('0x' + toHex(those) + ' is a Not-a-Number (NaN) value') : value;
  };
  const bitsOf = (value, count, big = true) => {
    const bits = Array.from({ length: Math.max(0, Math.min(count, 64)) }, (_, at) => Number(value >> BigInt(at) & 1n));
    return big ? bits.reverse() : bits;
  };

  const helpers = {
    btoa: value => toBase64(bytesOf(value)),
    atob: value => textOf(fromBase64(value)),
    stringToBytes: bytesFrom,
    bytesToString: (bytes, name) => textOf(bytes.map(byteOf), name),
    decodeToString: bytes => textOf(bytes.map(byteOf)),
    decodeToJson: value => JSON.parse(typeof value === 'string' ? value : textOf(value.map(byteOf))),
    bytesToHex: toHex,
    hexToBytes: fromHex,
    hexToBytesArray: fromHex,
    hexToBase64: value => toBase64(fromHex(value)),
    bytesToBase64: toBase64,
    base64ToBytes: fromBase64,
    base64ToBytesList: fromBase64,
    base64ToHex: value => toHex(fromBase64(value)),
    bytesToExecutionArrayList: bytes => bytes.map(signed),
    printUnsignedBytes: bytes => bytes.map(byte => byte & 255),
    $parseInt: (value, radix = 0) => whole(value, radix, true, 32),
    parseLong: (value, radix = 0) => whole(value, radix, true, 64),
    $parseFloat: (value, radix = 0) => floating(value, radix, true, 4),
    parseDouble: value => floating(value, radixOf(value, 0, ''), true, 8),
    parseHexIntLongToFloat: exactFloat,
    parseBytesToInt: reader(4, those => { const value = those.reduce((sum, byte) => sum * 256 + byte, 0); return those.length === 4 ? value | 0 : value; }),
    parseBytesToLong: reader(8, those => Number(BigInt.asIntN(64, sum(those)))),
    parseBytesToFloat: reader(4, numberIn(4)),
    parseBytesToDouble: reader(8, numberIn(8)),
    parseBytesIntToFloat: reader(4, those => short(Number(sum(those)))),
    parseBytesLongToDouble: reader(8, those => Number(sum(those))),
    intToHex: (value, big = true, prefix = false, length = -1) => hexText(value, big, prefix, length, 8),
    longToHex: (value, big = true, prefix = false, length = -1) => hexText(value, big, prefix, length, 16),
    intLongToRadixString: radixText,
    floatToHex: (value, big = true) => bitsText(() => view.setFloat32(0, value), 4, big),
    doubleToHex: (value, big = true) => bitsText(() => view.setFloat64(0, value), 8, big),
    toFixed,
    toInt: value => toFixed(value, 0) | 0,
    isBinary: value => value ? radixIs(2, value) : -1,
    isOctal: value => value ? radixIs(8, value) : -1,
    isDecimal: value => value ? radixIs(10, value) : -1,
    isHexadecimal: value => value ? radixIs(16, value) : -1,
    padStart: (value, length, by) => String(value).padStart(length, String(by)[0]),
    padEnd: (value, length, by) => String(value).padEnd(length, String(by)[0]),
    parseByteToBinaryArray: (byte, count = 8, big = true) => bitsOf(BigInt(signed(byte)), count, big),
    parseBytesToBinaryArray: (bytes, count = bytes.length * 8) => bitsOf(sum(some(bytes, 0, rest(bytes, 0, 8), 8, true)), count),
    parseLongToBinaryArray: (value, count = 64) => bitsOf(integer(value), count),
    parseBinaryArrayToInt: (bits, offset = 0, length = bits.length) => {
      const those = bits.slice(offset, Math.min(length + offset, bits.length)), value = those.reduce((sum, bit) => sum << 1 | bit & 1, 0);
      return bits.length === 8 && offset === 0 && bits[0] === 1 ? value - (1 << those.length) : value;
    },
    isInsidePolygon: (latitude, longitude, perimeter) => within(Number(latitude), Number(longitude), String(perimeter), false),
    isInsideCircle: (latitude, longitude, perimeter) => within(Number(latitude), Number(longitude), String(perimeter), true),
    raiseError: fail,
  };
  const ends = { '': undefined, LittleEndian: false, BigEndian: true };
  const kinds = {
    Int: (value, big) => whole(value, 16, big, 32), Long: (value, big) => whole(value, 16, big, 64),
    Float: (value, big) => floating(value, 16, big, 4), Double: (value, big) => floating(value, 16, big, 8),
  };
  for (const end in ends) {
    for (const kind in kinds) {
      helpers['parse' + end + 'HexTo' + kind] = end ? value => kinds[kind](value, ends[end]) : (value, big = true) => kinds[kind](value, big);
    }
  }

  // Java's classes.
  const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  const common = { compare, max: (a, b) => Math.max(a, b), min: (a, b) => Math.min(a, b), sum: (a, b) => a + b };
  const integers = bits => ({
    ...common,
    valueOf: (value, radix = 10) => typeof value === 'number' ? Math.trunc(value) : Number(digits(String(value), radix, bits)),
    toString: (value, radix = 10) => integer(value).toString(radix < 2 || radix > 36 ? 10 : radix),
    toHexString: value => unsigned(value, bits, 16),
    toOctalString: value => unsigned(value, bits, 8),
    toBinaryString: value => unsigned(value, bits, 2),
    MAX_VALUE: 2 ** (bits - 1) - 1,
    MIN_VALUE: -(2 ** (bits - 1)),
  });
  const reals = size => ({
    ...common,
    valueOf: value => typeof value === 'number' ? value : real(String(value), size),
    toString: value => String(value),
    isNaN: value => Number.isNaN(value),
    isFinite: value => Number.isFinite(value),
    isInfinite: value => Math.abs(value) === Infinity,
    MAX_VALUE: size === 4 ? short(2 ** 128 - 2 ** 104) : Number.MAX_VALUE,
    MIN_VALUE: size === 4 ? 1.4e-45 : Number.MIN_VALUE,
    NaN, POSITIVE_INFINITY: Infinity, NEGATIVE_INFINITY: -Infinity,
  });
  const isTrue = value => String(value).toLowerCase() === 'true';
  const parse = bits => (value, radix = 10) => Number(digits(String(value), radix, bits));
  const classes = {
    $Integer: { ...integers(32), parseInt: parse(32), toUnsignedLong: value => value >>> 0 },
    $Long: { ...integers(64), parseLong: parse(64) },
    $Short: { parseShort: parse(16), valueOf: parse(16), toUnsignedInt: value => value & 65535 },
    $Byte: { parseByte: parse(8), valueOf: parse(8), toUnsignedInt: value => value & 255 },
    $Double: { ...reals(8), parseDouble: value => real(String(value), 8) },
    $Float: { ...reals(4), parseFloat: value => real(String(value), 4) },
    $Boolean: { parseBoolean: isTrue, valueOf: isTrue, toString: value => String(value) },
    $String: { valueOf: text, format, join: (by, ...values) => (Array.isArray(values[0]) ? values[0] : values).map(text).join(by) },
    $Math: {
      toRadians: degrees => degrees * 0.017453292519943295, toDegrees: radians => radians * 57.29577951308232, signum: value => Math.sign(value),
      rint: value => Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value),
      floorDiv: (a, b) => Math.floor(a / b), floorMod: (a, b) => (a % b + b) % b,
    },
  };
  return { ...helpers, ...classes, $text: text, $bytes: bytesOf };
})
