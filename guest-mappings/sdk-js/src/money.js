// Exact money. Stripe counts in minor units, ERPs write decimals; the way between is a table and integers, never a
// division by 100. What would lose a digit is refused.

import { Reject } from './stop.js';

const ZERO_DECIMAL = new Set(
  'BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF'.split(' '),
);
const THREE_DECIMAL = new Set('BHD JOD KWD OMR TND'.split(' '));
// Without decimals, but Stripe counts them in hundredths all the same: 5 ISK is 500.
const ZERO_DECIMAL_IN_HUNDREDTHS = new Set(['ISK', 'UGX']);

const refuse = (code, message) => new Reject([{ pointer: '', code, message }]);

function currencyOf(code) {
  if (typeof code !== 'string' || !/^[A-Za-z]{3}$/.test(code)) {
    throw refuse('not-a-currency', `${JSON.stringify(code)} is not a currency code of three letters`);
  }
  return code.toUpperCase();
}

function minorDecimals(currency) {
  if (ZERO_DECIMAL.has(currency)) return 0;
  return THREE_DECIMAL.has(currency) ? 3 : 2;
}

function decimalsOf(currency) {
  return ZERO_DECIMAL_IN_HUNDREDTHS.has(currency) ? 0 : minorDecimals(currency);
}

function toBigInt(value) {
  if (typeof value === 'bigint') return value;
  if (Number.isSafeInteger(value)) return BigInt(value);
  throw refuse('not-an-amount', `${String(value)} is no whole number of minor units`);
}

/** A decimal number: digits and a scale, exact. Written as it stands: 49.98, 5000, 12.340. */
export class Decimal {
  constructor(digits, scale) {
    this.digits = toBigInt(digits);
    this.scale = scale;
  }

  /** Of a text: a number may have been rounded already, 0.1 + 0.2 is none of ours. A Decimal is itself. */
  static parse(text) {
    if (text instanceof Decimal) return text;
    if (typeof text !== 'string') throw refuse('not-an-amount', `${String(text)} is no text: a decimal number is one, as in '49.98'`);
    const parts = /^(-?)(\d{1,28})(?:\.(\d{1,28}))?$/.exec(text);
    if (!parts) throw refuse('not-an-amount', `${JSON.stringify(text)} is no decimal number`);
    const fraction = parts[3] ?? '';
    return new Decimal(BigInt(parts[1] + parts[2] + fraction), fraction.length);
  }

  /** With so many decimals; refuses to lose a digit. */
  rescale(scale) {
    if (scale >= this.scale) return new Decimal(this.digits * 10n ** BigInt(scale - this.scale), scale);
    const factor = 10n ** BigInt(this.scale - scale);
    if (this.digits % factor !== 0n) throw refuse('lost-digits', `${this} has more than ${scale} decimals`);
    return new Decimal(this.digits / factor, scale);
  }

  plus(other) {
    const scale = Math.max(this.scale, other.scale);
    return new Decimal(this.rescale(scale).digits + other.rescale(scale).digits, scale);
  }

  minus(other) {
    return this.plus(other.negated());
  }

  negated() {
    return new Decimal(-this.digits, this.scale);
  }

  /** Negative, zero or positive, as this is less than, equal to or more than the other. */
  compare(other) {
    const { digits } = this.minus(other);
    return digits < 0n ? -1 : digits > 0n ? 1 : 0;
  }

  isNegative() {
    return this.digits < 0n;
  }

  toString() {
    const sign = this.digits < 0n ? '-' : '';
    const digits = (this.digits < 0n ? -this.digits : this.digits).toString().padStart(this.scale + 1, '0');
    if (this.scale === 0) return sign + digits;
    const point = digits.length - this.scale;
    return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  }

  /** In a body, a decimal is a text. */
  toJSON() {
    return this.toString();
  }

  /** `<` and `+` would compare and add texts: '9.00' > '10.00'. */
  valueOf() {
    throw new TypeError('a Decimal has no operators: use compare(…), plus(…) and minus(…)');
  }
}

/** An amount as Stripe counts it. */
export class Money {
  constructor(minor, currency) {
    this.minor = toBigInt(minor);
    this.currency = currencyOf(currency);
  }

  /** A decimal in Stripe's minor unit; refuses what would lose a digit. */
  static fromDecimal(amount, currency) {
    const code = currencyOf(currency);
    const written = Decimal.parse(amount).rescale(decimalsOf(code));
    return new Money(written.digits * 10n ** BigInt(minorDecimals(code) - decimalsOf(code)), code);
  }

  /** As a decimal, written with the currency's own decimals, or with as many as the receiver keeps. */
  decimal(decimals = decimalsOf(this.currency)) {
    return new Decimal(this.minor, minorDecimals(this.currency)).rescale(decimals);
  }

  /** Splits by weights into parts that the currency can be paid in; the parts add up. */
  split(weights) {
    const decimals = decimalsOf(this.currency);
    const step = 10n ** BigInt(minorDecimals(this.currency) - decimals);
    return split(this.decimal().digits, weights).map((part) => new Money(part * step, this.currency));
  }

  /** Unit prices under which `quantity` pieces cost exactly this: [[pieces, price]…]. */
  unitPrices(quantity, decimals = decimalsOf(this.currency)) {
    const units = this.decimal(decimals).digits;
    return unitPrices(units, quantity).map(([pieces, price]) => [pieces, new Decimal(price, decimals)]);
  }

  toString() {
    return `${new Decimal(this.minor, minorDecimals(this.currency))} ${this.currency}`;
  }

  /** As of a Decimal. */
  valueOf() {
    throw new TypeError('Money has no operators: use decimal().compare(…) and decimal().plus(…)');
  }
}

/** Splits a whole number by weights; what rounding leaves over goes to the largest remainders, the first of equals first. */
export function split(total, weights) {
  const whole = toBigInt(total);
  const shares = weights.map(toBigInt);
  if (shares.some((weight) => weight < 0n)) throw refuse('not-a-weight', 'a weight is never negative');
  const sum = shares.reduce((one, other) => one + other, 0n);
  if (sum === 0n) return shares.length === 0 ? [] : split(whole, shares.map(() => 1n));
  const magnitude = whole < 0n ? -whole : whole;
  const parts = shares.map((weight) => (magnitude * weight) / sum);
  const left = magnitude - parts.reduce((one, other) => one + other, 0n);
  const order = shares.map((weight, place) => ({ place, remainder: (magnitude * weight) % sum }));
  order.sort((one, other) => (other.remainder > one.remainder ? 1 : other.remainder < one.remainder ? -1 : one.place - other.place));
  for (let next = 0; next < Number(left); next += 1) parts[order[next].place] += 1n;
  return parts.map((part) => (whole < 0n ? -part : part));
}

/** One price, or two that differ by one unit: [[pieces, price]…], in whole units. */
export function unitPrices(total, quantity) {
  if (!Number.isSafeInteger(quantity) || quantity < 0) throw refuse('not-a-quantity', `${quantity} is no quantity`);
  if (quantity === 0) return [];
  const [whole, pieces] = [toBigInt(total), BigInt(quantity)];
  const dearer = ((whole % pieces) + pieces) % pieces;
  const low = (whole - dearer) / pieces;
  return [[quantity - Number(dearer), low], [Number(dearer), low + 1n]].filter(([count]) => count > 0);
}
