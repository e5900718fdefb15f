// Dates. Stripe tells time in Unix seconds, an ERP posts on a day; which day it is depends on where. Zone data come with
// the SDK and are read without a clock: the same event gives the same day on any host. No Date of the language is used:
// in the sandbox there is no clock behind it.

import { Reject } from './stop.js';
import { ZONES } from './zones.js';

const DAY = 86400;
const refuse = (code, message) => new Reject([{ pointer: '', code, message }]);

/** The day (YYYY-MM-DD) that it is at `seconds` since 1970 in a time zone of the IANA database. */
export function inZone(seconds, zone) {
  checkSeconds(seconds);
  return dayText(Math.floor((seconds + offsetAt(seconds, zone)) / DAY));
}

/** When a day begins in a time zone, in seconds since 1970. */
export function startOfDay(day, zone) {
  const midnight = dayNumber(day) * DAY;
  // The first second of the day: where clocks go forward at midnight, it is not midnight.
  const guess = midnight - offsetAt(midnight - offsetAt(midnight, zone), zone);
  for (const seconds of [guess - 3600, guess, guess + 3600]) {
    if (inZone(seconds, zone) === day && inZone(seconds - 1, zone) < day) return seconds;
  }
  return guess;
}

/** A day as SAP writes it: YYYYMMDD. */
export function dats(day) {
  dayNumber(day);
  return day.replaceAll('-', '');
}

/** So many days later. */
export function daysAfter(day, days) {
  return dayText(dayNumber(day) + days);
}

/** A time as ISO 8601 in UTC. */
export function toIso(seconds) {
  checkSeconds(seconds);
  const rest = ((seconds % DAY) + DAY) % DAY;
  const two = (value) => String(value).padStart(2, '0');
  const time = [Math.floor(rest / 3600), Math.floor(rest / 60) % 60, rest % 60].map(two).join(':');
  return `${dayText(Math.floor(seconds / DAY))}T${time}Z`;
}

function checkSeconds(seconds) {
  if (!Number.isSafeInteger(seconds) || Math.abs(seconds) > 253402207200) {
    throw refuse('time-out-of-range', `${String(seconds)} is not a time in seconds since 1970`);
  }
}

// Days since 1970 and the civil calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
function dayText(number) {
  const shifted = number + 719468;
  const era = Math.floor(shifted / 146097);
  const ofEra = shifted - era * 146097;
  const year = Math.floor((ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36524) - Math.floor(ofEra / 146096)) / 365);
  const ofYear = ofEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const moved = Math.floor((5 * ofYear + 2) / 153);
  const day = ofYear - Math.floor((153 * moved + 2) / 5) + 1;
  const month = moved < 10 ? moved + 3 : moved - 9;
  const full = year + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(full).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
}

function dayNumber(text) {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (parts) {
    const number = civil(Number(parts[1]), Number(parts[2]), Number(parts[3]));
    if (dayText(number) === text) return number;
  }
  throw refuse('unreadable-date', `${JSON.stringify(text)} is not a date in ISO 8601, such as 2026-11-20`);
}

function civil(year, month, day) {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const ofEra = shifted - era * 400;
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719468;
}

// Made when the component is built: a module begins every call as it was then, and does not pay for it.
const lines = new Map();
for (const line of ZONES.split('\n')) {
  for (const name of line.slice(0, line.indexOf('|')).split(',')) lines.set(name, line);
}
const known = new Map();

function zoneOf(name) {
  if (known.has(name)) return known.get(name);
  const line = lines.get(name);
  if (line === undefined) {
    throw refuse('settings', `${JSON.stringify(name)} is not a time zone of the IANA database, such as Europe/Berlin`);
  }
  const [, offsets, steps, indexes, rule] = line.split('|');
  const offset = offsets.split(',').map(Number);
  let at = 0;
  const times = steps === '' ? [] : steps.split(' ').map((step) => (at += parseInt(step, 36)));
  const zone = { first: offset[0], times, offsets: [...indexes].map((index) => offset[parseInt(index, 36)]), rule: parseRule(rule) };
  known.set(name, zone);
  return zone;
}

/** Seconds that a zone is east of Greenwich at a time. */
function offsetAt(seconds, name) {
  if (name === 'UTC' || name === 'Etc/UTC') return 0;
  const zone = zoneOf(name);
  const { times } = zone;
  if (times.length === 0 || seconds < times[0]) return times.length === 0 && zone.rule ? byRule(seconds, zone.rule) : zone.first;
  if (seconds >= times[times.length - 1] && zone.rule) return byRule(seconds, zone.rule);
  let [low, high] = [0, times.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= seconds) low = middle;
    else high = middle;
  }
  return zone.offsets[low];
}

// A POSIX rule: what holds after the last transition that is listed. CET-1CEST,M3.5.0,M10.5.0/3
function parseRule(text) {
  const name = '(?:[A-Za-z]+|<[^>]+>)';
  const time = '[+-]?\\d{1,3}(?::\\d{2}(?::\\d{2})?)?';
  const parts = new RegExp(`^${name}(${time})(?:${name}(${time})?,([^,]+),([^,]+))?$`).exec(text);
  if (!parts) return null;
  const standard = -secondsOf(parts[1]);
  if (parts[3] === undefined) return { standard };
  return { standard, summer: parts[2] === undefined ? standard + 3600 : -secondsOf(parts[2]), begin: changeOf(parts[3]), end: changeOf(parts[4]) };
}

function secondsOf(text) {
  const sign = text.startsWith('-') ? -1 : 1;
  const [hours, minutes, seconds] = text.replace(/^[+-]/, '').split(':').map(Number);
  return sign * (hours * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0));
}

function changeOf(text) {
  const [day, time] = text.split('/');
  const at = time === undefined ? 7200 : secondsOf(time);
  if (day.startsWith('M')) {
    const [month, week, weekday] = day.slice(1).split('.').map(Number);
    return (year) => {
      const first = civil(year, month, 1);
      // 1970-01-01 was a Thursday.
      let number = first + ((weekday - ((first + 4) % 7) + 7) % 7) + (week - 1) * 7;
      const next = month === 12 ? civil(year + 1, 1, 1) : civil(year, month + 1, 1);
      while (number >= next) number -= 7;
      return number * DAY + at;
    };
  }
  if (day.startsWith('J')) {
    // Day of the year from 1, the 29th of February never counted.
    const number = Number(day.slice(1));
    return (year) => {
      const isLeap = civil(year, 3, 1) - civil(year, 2, 28) === 2;
      return (civil(year, 1, 1) + number - 1 + (isLeap && number > 59 ? 1 : 0)) * DAY + at;
    };
  }
  return (year) => (civil(year, 1, 1) + Number(day)) * DAY + at;
}

function byRule(seconds, rule) {
  if (rule.summer === undefined) return rule.standard;
  const year = Number(dayText(Math.floor((seconds + rule.standard) / DAY)).slice(0, 4));
  const begin = rule.begin(year) - rule.standard;
  const end = rule.end(year) - rule.summer;
  const isSummer = begin < end ? seconds >= begin && seconds < end : seconds >= begin || seconds < end;
  return isSummer ? rule.summer : rule.standard;
}
