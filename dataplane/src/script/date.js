// `Date` of TBEL: months and days of the week count from 1, days of the week from Monday. Its own time zone is always UTC. What
// ThingsBoard leaves to the locales of its JDK is known for English and for the locale without a language; others throw.
(function(offsetOf) {
  'use strict';
  const fail = text => { throw new Error(text); };
  const pad = (number, width) => (number < 0 ? '-' : '') + String(Math.abs(number)).padStart(width, '0');
  const months = 'January February March April May June July August September October November December'.split(' ');
  const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

  // Seconds that a zone is ahead of UTC at a time.
  const ahead = (zone, ms) => {
    const fixed = /^(?:(?:UTC|GMT|UT)?([+-])(\d\d?)(?::?(\d\d)(?::?(\d\d))?)?|UTC|GMT|UT|Z)$/.exec(zone);
    if (fixed) return (fixed[1] === '-' ? -1 : 1) * ((fixed[2] | 0) * 3600 + (fixed[3] | 0) * 60 + (fixed[4] | 0));
    const seconds = offsetOf(zone, ms);
    return seconds == null ? fail('no time zone: ' + zone) : seconds;
  };
  // When a zone's clock says `local`, the first time; what it leaps over is as long after as before.
  const instant = (local, zone) => {
    if (zone === 'UTC') return local;
    const before = local - ahead(zone, local - 86400000) * 1000, after = local - ahead(zone, local + 86400000) * 1000;
    return local - ahead(zone, before) * 1000 !== before && local - ahead(zone, after) * 1000 === after ? after : before;
  };
  const whole = (value, from, to, name) => {
    const number = Number(value);
    return Number.isInteger(number) && number >= from && number <= to ? number : fail('no ' + name + ': ' + value);
  };
  const local = (year, month, day, hour, minute, second, ms) => {
    const time = new Date(0);
    time.setUTCFullYear(whole(year, -99999, 99999, 'year'), whole(month, 1, 12, 'month') - 1, whole(day, 1, 31, 'day'));
    if (time.getUTCDate() !== Number(day)) fail('no day of this month: ' + day);
    const [hours, minutes, seconds] = [whole(hour, 0, 23, 'hour'), whole(minute, 0, 59, 'minute'), whole(second, 0, 59, 'second')];
    return time.setUTCHours(hours, minutes, seconds, whole(ms, 0, 999, 'millisecond'));
  };
  const timed = (year, ...others) => local(year < 70 ? 2000 + year : year <= 99 ? 1900 + year : year, ...others);

  const iso = /^(\d{4})-(\d\d)-(\d\d) ?T?(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)? ?(Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?|[A-Za-z][\w/+-]*)?$/;
  const rfc = /^(?:([A-Z][a-z]{2}), )?(\d\d?) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d)(?::(\d\d))?(?: (GMT|[+-]\d\d(?:\d\d(?:\d\d)?)?))?$/;
  const thousandths = fraction => Number((fraction || '').padEnd(3, '0').slice(0, 3));
  const onDay = (time, name) => !name || days[new Date(time).getUTCDay()].startsWith(name) ? time : fail('no ' + name + ' is that day');
  const read = text => {
    const by = iso.exec(text);
    if (by) return instant(local(by[1], by[2], by[3], by[4], by[5], by[6] || 0, thousandths(by[7])), by[8] || 'UTC');
    const mail = rfc.exec(text) || fail('Cannot parse value [' + text + '] as instant');
    const month = months.findIndex(name => name.startsWith(mail[3])) + 1;
    return instant(onDay(local(mail[4], month, mail[2], mail[5], mail[6], mail[7] || 0, 0), mail[1]), mail[8] || 'UTC');
  };

  // Quoted text, letters that say a field, and everything else.
  const fields = pattern => String(pattern).match(/'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+|'/g) || [];
  const literal = field => field === "''" ? "'" : field.startsWith("'") ? field.slice(1, -1).replace(/''/g, "'") : field;
  const unknown = field => fail('in patterns ' + field + ' is not known here');
  const shortest = { '': true, utc: true, gmt: true, root: true };
  const names = (list, count, locale) => {
    const language = String(locale || '').toLowerCase().split(/[-_]/)[0];
    if (language !== 'en' && !shortest[language]) fail('names of the locale ' + locale + ' are not known here');
    return count > 3 && language === 'en' ? list : list.map(name => name.slice(0, 3));
  };
  const parts = {
    y: '(\\d{4})', M: '(\\d\\d?)', d: '(\\d\\d?)', H: '(\\d\\d?)', h: '(\\d\\d?)', m: '(\\d\\d?)', s: '(\\d\\d?)', a: '(AM|PM)',
    X: '(Z|[+-]\\d\\d(?::?\\d\\d(?::?\\d\\d)?)?)', V: '([A-Za-z][\\w/+-]*)',
  };
  const alike = { u: 'y', L: 'M', x: 'X', Z: 'X', z: 'V' };
  const readBy = (text, pattern, locale, zone) => {
    const found = {}, said = [];
    const source = fields(pattern).map(field => {
      if (!/^[A-Za-z]/.test(field)) return literal(field).replace(/[^\w\s]/g, '\\$&');
      const letter = alike[field[0]] || field[0], count = field.length;
      said.push(letter);
      if (letter === 'S') return '(\\d{' + count + '})';
      if ((letter === 'M' && count > 2) || letter === 'E') return '(' + names(letter === 'E' ? days : months, count, locale).join('|') + ')';
      if (letter === 'a') names(days, 1, locale);
      if (letter === 'y' && count === 2) return '(\\d\\d)';
      return count === 2 && 'MdHhms'.includes(letter) ? '(\\d\\d)' : parts[letter] || unknown(field);
    }).join('');
    const by = new RegExp('^' + source + '$').exec(text) || fail('Cannot parse value [' + text + '] as instant');
    said.forEach((letter, at) => { found[letter] = by[at + 1]; });
    const year = found.y !== undefined && found.y.length === 2 ? 2000 + Number(found.y) : found.y;
    const month = /^\D/.test(found.M) ? months.findIndex(name => name.startsWith(found.M)) + 1 : found.M;
    if (found.h !== undefined && found.a === undefined) fail('an hour h needs AM or PM');
    const hour = found.h === undefined ? found.H : whole(found.h, 1, 12, 'hour') % 12 + (found.a === 'PM' ? 12 : 0);
    const time = local(year, month, found.d, hour, found.m || 0, found.s || 0, thousandths(found.S));
    return instant(onDay(time, found.E), zone || found.X || found.V || 'UTC');
  };

  const offset = (seconds, colon, zero) => {
    if (seconds === 0 && zero) return zero;
    const minutes = Math.floor(Math.abs(seconds) / 60);
    return (seconds < 0 ? '-' : '+') + pad(Math.floor(minutes / 60), 2) + colon + pad(minutes % 60, 2);
  };
  const write = (ms, pattern, locale, zone) => {
    const seconds = ahead(zone, ms), time = new Date(ms + seconds * 1000), hour = time.getUTCHours();
    const isUtc = ['UTC', 'GMT', 'Z'].includes(zone);
    return fields(pattern).map(field => {
      const letter = field[0], count = field.length;
      switch (letter) {
        case 'y': case 'u': return count === 2 ? pad(time.getUTCFullYear() % 100, 2) : pad(time.getUTCFullYear(), count);
        case 'M': case 'L':
          return count < 3 ? pad(time.getUTCMonth() + 1, count) : names(months, count, locale)[time.getUTCMonth()];
        case 'd': return pad(time.getUTCDate(), count);
        case 'E': return names(days, count, locale)[time.getUTCDay()];
        case 'a': names(days, 1, locale); return hour < 12 ? 'AM' : 'PM';
        case 'H': return pad(hour, count);
        case 'h': return pad(hour % 12 || 12, count);
        case 'm': return pad(time.getUTCMinutes(), count);
        case 's': return pad(time.getUTCSeconds(), count);
        case 'S': return pad(time.getUTCMilliseconds(), 3).padEnd(count, '0').slice(0, count);
        case 'X': return offset(seconds, count > 2 ? ':' : '', 'Z');
        case 'x': return offset(seconds, count > 2 ? ':' : '');
        case 'Z': return offset(seconds, '');
        case 'V': return zone;
        case 'z': return isUtc ? (count > 3 ? 'Coordinated Universal Time' : 'UTC') : fail('names of time zones are not known here');
        default: return /^[A-Za-z]/.test(letter) ? unknown(field) : literal(field);
      }
    }).join('');
  };
  const english = {
    full: ['EEEE, MMMM d, y', 'h:mm:ss\u202fa zzzz'], long: ['MMMM d, y', 'h:mm:ss\u202fa z'],
    medium: ['MMM d, y', 'h:mm:ss\u202fa'], short: ['M/d/yy', 'h:mm\u202fa'],
  };
  const plain = {
    full: ['y MMM d, EEEE', 'HH:mm:ss zzzz'], long: ['y MMM d', 'HH:mm:ss z'], medium: ['y MMM d', 'HH:mm:ss'], short: ['y-MM-dd', 'HH:mm'],
  };
  const german = { short: ['dd.MM.yy', 'HH:mm'], medium: ['dd.MM.y', 'HH:mm:ss'] };
  // The pattern of a locale for these styles of date and time; either may be left out.
  const styled = (locale, date, time) => {
    const tag = String(locale || 'en').toLowerCase().replace('_', '-'), language = tag.split('-')[0];
    const known = tag === 'en' || tag === 'en-us' ? english : shortest[language] ? plain : language === 'de' || language === 'uk' ? german : {};
    const [dated] = known[date || 'short'] || [], [, clock] = known[time || 'short'] || [];
    if (!dated || !clock || (known === german && language === 'uk' && date === 'medium')) fail('the locale ' + locale + ' is not known here with such styles: say a pattern');
    return !time ? dated : !date ? clock : dated + (known === plain ? ' ' : ', ') + clock;
  };

  class TbDate {
    #ms;
    constructor(...given) {
      const [first] = given;
      const zone = typeof given[given.length - 1] === 'string' && typeof first !== 'string' ? given.pop() : '';
      if (typeof first === 'string') {
        if (given.length > 4 || given.some(one => typeof one !== 'string')) fail('new Date: expected a text, a pattern, a locale and a time zone');
        this.#ms = given.length === 1 ? read(first) : readBy(...given);
      } else if (given.length < 2 && !zone) {
        this.#ms = given.length ? typeof first === 'number' ? Math.trunc(first) : NaN : Date.now();
      } else if ([3, 5, 6, 7].includes(given.length)) {
        const [year, month, day, hour = 0, minute = 0, second = 0, ms = 0] = given;
        this.#ms = instant(timed(year, month, day, hour, minute, second, ms), zone || 'UTC');
      } else fail('new Date: there is none of ' + given.length + ' numbers');
      if (!(Math.abs(this.#ms) <= 8.64e15)) fail('no date: ' + first);
    }
    static now() { return Date.now(); }
    static parse(text, pattern) {
      try {
        return pattern === undefined ? iso.test(text) ? read(text) : -1 : readBy(text, pattern);
      } catch (e) {
        return -1;
      }
    }
    static UTC(year, month, day, hour = 0, minute = 0, second = 0, ms = 0) {
      return timed(year || 1899, month || 12, day || 31, hour, minute, second, ms);
    }
    getTime() { return this.#ms; }
    valueOf() { return this.#ms; }
    parseSecond() { return Math.floor(this.#ms / 1000); }
    parseSecondMilli() { return this.#ms; }
    setTime(ms) { this.#ms = new TbDate(Number(ms)).#ms; }
    toISOString() { return new Date(this.#ms).toISOString().replace('.000Z', 'Z'); }
    toJSON() { return this.toString(); }
    // A zone, or JSON with timeZone, dateStyle, timeStyle and pattern.
    #said(locale, options, date, time, always) {
      let by = {};
      try {
        by = options ? JSON.parse(options) : {};
      } catch (e) {
        by = { timeZone: options };
      }
      const style = (said, usual) => usual && (always ? usual : english[String(said).toLowerCase()] ? said.toLowerCase() : usual);
      const pattern = by.pattern || styled(locale, style(by.dateStyle, date), style(by.timeStyle, time));
      return write(this.#ms, pattern, locale || 'en', by.timeZone || 'UTC');
    }
    toString(locale = 'en', options) { return this.#said(locale, options, 'full', 'full', true); }
    toUTCString(locale = 'UTC') { return this.#said(locale, 'UTC', 'full', 'medium', true); }
    toDateString(locale = 'UTC', options) { return this.#said(locale, options, 'full', '', true); }
    toTimeString(locale = 'en', options) { return this.#said(locale, options, '', 'full', true); }
    toLocaleString(locale = 'UTC', options) { return this.#said(locale, options, 'short', 'medium'); }
    toLocaleTimeString(locale = 'en', options) { return this.#said(locale, options, '', 'medium'); }
    toLocaleDateString(locale = 'UTC', options) {
      return this.#said(locale, options, options === undefined ? 'full' : 'short', '', options === undefined);
    }
    addYears(years) { this.addMonths(years * 12); }
    // The last day of a month, where it has no such day.
    addMonths(count) {
      const time = new Date(this.#ms), day = time.getUTCDate();
      time.setUTCDate(1);
      time.setUTCMonth(time.getUTCMonth() + count);
      const last = new Date(time);
      last.setUTCMonth(last.getUTCMonth() + 1, 0);
      this.setTime(time.setUTCDate(Math.min(day, last.getUTCDate())));
    }
    $equals(other) { return other instanceof TbDate && other.#ms === this.#ms; }
    $toString(...given) { return this.toString(...given); }
  }
  const own = (name, value) => Object.defineProperty(TbDate.prototype, name, { value, writable: true, configurable: true });
  for (const [unit, ms] of [['Weeks', 604800000], ['Days', 86400000], ['Hours', 3600000], ['Minutes', 60000], ['Seconds', 1000]]) {
    own('add' + unit, function(count) { this.setTime(this.getTime() + whole(count, -1e12, 1e12, 'number of ' + unit) * ms); });
  }
  const ranges = {
    FullYear: [-99999, 99999], Month: [1, 12], Date: [1, 31], Hours: [0, 23], Minutes: [0, 59], Seconds: [0, 59], Milliseconds: [0, 999],
  };
  for (const zone of ['', 'UTC']) {
    for (const name of [...Object.keys(ranges), 'Day']) {
      own('get' + zone + name, function() {
        const said = new Date(this.getTime())['getUTC' + name]();
        return name === 'Month' ? said + 1 : name === 'Day' ? said || 7 : said;
      });
    }
    for (const group of [['FullYear', 'Month', 'Date'], ['Hours', 'Minutes', 'Seconds', 'Milliseconds']]) {
      group.forEach((name, at) => own('set' + zone + name, function(...given) {
        if (given.length < 1 || given.length > group.length - at) fail('set' + name + ': not with ' + given.length + ' numbers');
        const values = given.map((value, i) => whole(value, ...ranges[group[at + i]], group[at + i]) - (group[at + i] === 'Month'));
        const time = new Date(this.getTime());
        time['setUTC' + name](...values);
        const day = group[at + given.length - 1] === 'Date' && values[values.length - 1];
        if (day && time.getUTCDate() !== day) fail('no day of this month: ' + day);
        this.setTime(time.getTime());
      }));
    }
  }
  return TbDate;
})
