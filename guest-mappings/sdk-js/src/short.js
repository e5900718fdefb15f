// Short references: a Stripe id does not fit the 16 characters of an accounting reference, so 80 bits of its SHA-256
// stand for it. The full id is kept in a longer field beside it.

// Crockford's base 32: no I, L, O, U.
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** 16 characters that stand for an id. */
export function shortReference(id) {
  let bits = 0n;
  for (const byte of sha256(utf8(id)).slice(0, 10)) bits = (bits << 8n) | BigInt(byte);
  let text = '';
  for (let place = 15n; place >= 0n; place -= 1n) text += DIGITS[Number((bits >> (5n * place)) & 31n)];
  return text;
}

/** The first characters of the short reference: fewer bits, for fields that hold no more. */
export function shortPrefix(id, chars) {
  return shortReference(id).slice(0, chars);
}

function utf8(text) {
  return [...unescape(encodeURIComponent(text))].map((character) => character.charCodeAt(0));
}

// FIPS 180-4. Constants are the first bits of the roots of the first primes.
const primes = [];
for (let number = 2; primes.length < 64; number += 1) {
  if (primes.every((prime) => number % prime !== 0)) primes.push(number);
}

// The first 32 bits behind the point of a root, by integers: floating point would do, and prove nothing.
function rootBits(prime, power) {
  const scaled = BigInt(prime) << BigInt(32 * power);
  let [low, high] = [0n, 1n << 40n];
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(power) <= scaled) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn);
}

const K = primes.map((prime) => rootBits(prime, 3));
const H = primes.slice(0, 8).map((prime) => rootBits(prime, 2));

function sha256(bytes) {
  const length = bytes.length;
  const padded = [...bytes, 0x80];
  while (padded.length % 64 !== 56) padded.push(0);
  for (let shift = 56n; shift >= 0n; shift -= 8n) padded.push(Number((BigInt(length * 8) >> shift) & 255n));
  const state = [...H];
  const turn = (word, by) => (word >>> by) | (word << (32 - by));
  for (let block = 0; block < padded.length; block += 64) {
    const w = [];
    for (let place = 0; place < 64; place += 1) {
      if (place < 16) {
        const at = block + place * 4;
        w.push((padded[at] << 24) | (padded[at + 1] << 16) | (padded[at + 2] << 8) | padded[at + 3]);
      } else {
        const [early, late] = [w[place - 15], w[place - 2]];
        const one = turn(early, 7) ^ turn(early, 18) ^ (early >>> 3);
        const two = turn(late, 17) ^ turn(late, 19) ^ (late >>> 10);
        w.push((w[place - 16] + one + w[place - 7] + two) | 0);
      }
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let place = 0; place < 64; place += 1) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[place] + w[place]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, place) => {
      state[place] = (state[place] + word) | 0;
    });
  }
  return state.flatMap((word) => [24, 16, 8, 0].map((shift) => (word >>> shift) & 255));
}
