// What the SDK promises, and that it promises the same as the Rust and Python ones: the numbers are theirs.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  Decimal, Money, Reject, always, captured, credit, dats, daysAfter, debit, field, inZone, lookup, alpha, numc, query,
  shortPrefix, shortReference, split, startOfDay, toIso, unitPrices, hold, skip, defer, reject,
} from '../src/index.js';
import { describe as described, transform } from '../src/component.js';

const refused = (code) => (error) => error instanceof Reject && error.violations[0].code === code;

test('minor units become decimals by currency', () => {
  for (const [minor, code, expected] of [
    [4998, 'usd', '49.98'], [5, 'EUR', '0.05'], [0, 'eur', '0.00'], [5000, 'jpy', '5000'], [12340, 'kwd', '12.340'],
    [100, 'bhd', '0.100'], [500, 'isk', '5'], [500, 'ugx', '5'], [123400, 'huf', '1234.00'], [-250, 'usd', '-2.50'],
  ]) {
    assert.equal(String(new Money(minor, code).decimal()), expected, `${minor} ${code}`);
    assert.equal(Money.fromDecimal(expected, code).minor, BigInt(minor));
  }
});

test('what would lose a digit is refused', () => {
  assert.throws(() => new Money(550, 'isk').decimal(), refused('lost-digits'));
  assert.throws(() => new Money(5, 'huf').decimal(0), refused('lost-digits'));
  assert.throws(() => Money.fromDecimal('1.234', 'usd'), refused('lost-digits'));
  assert.throws(() => new Money(49.98, 'usd'), refused('not-an-amount'));
  assert.throws(() => new Money(1, 'dollars'), refused('not-a-currency'));
  assert.equal(JSON.stringify({ amount: new Money(5, 'jpy').decimal(2) }), '{"amount":"5.00"}');
});

test('a split conserves its total', () => {
  assert.deepEqual(split(100, [1, 1, 1]), [34n, 33n, 33n]);
  assert.deepEqual(split(10, [5, 3, 3]), [4n, 3n, 3n]);
  assert.deepEqual(split(-100, [1, 1, 1]), [-34n, -33n, -33n]);
  assert.deepEqual(split(7, [0, 0]), [4n, 3n]);
  assert.deepEqual(split(7, []), []);
  assert.deepEqual(unitPrices(1000, 3), [[2, 333n], [1, 334n]]);
  assert.deepEqual(new Money(1000, 'isk').split([1, 1, 1]).map((part) => part.minor), [400n, 300n, 300n]);
  for (let round = 0; round < 500; round += 1) {
    const weights = Array.from({ length: (round % 7) + 1 }, (_, place) => (round * 31 + place * 17) % 101);
    assert.equal(split(round * 7919, weights).reduce((one, other) => one + other, 0n), BigInt(round * 7919));
  }
});

test('decimals are exact', () => {
  assert.equal(String(Decimal.parse('0.1').plus(Decimal.parse('0.2'))), '0.3');
  assert.equal(Decimal.parse('1.50').compare(Decimal.parse('1.5')), 0);
  assert.equal(String(Decimal.parse('-0.05')), '-0.05');
  assert.throws(() => Decimal.parse('1e3'), refused('not-an-amount'));
  const parsed = Decimal.parse('1.50');
  assert.equal(Decimal.parse(parsed), parsed);
  for (const rounded of [0.1 + 0.2, 5, 5n, null, undefined, ['5'], { toString: () => '5' }]) {
    assert.throws(() => Decimal.parse(rounded), refused('not-an-amount'));
    assert.throws(() => debit('1', rounded, 'USD'), refused('not-an-amount'));
    assert.throws(() => Money.fromDecimal(rounded, 'USD'), refused('not-an-amount'));
  }
});

test('which day it is depends on where', () => {
  const late = 1795217400; // 2026-11-20T23:30:00Z
  for (const [zone, day] of [
    ['UTC', '2026-11-20'], ['Europe/Berlin', '2026-11-21'], ['Asia/Tokyo', '2026-11-21'], ['America/Los_Angeles', '2026-11-20'],
  ]) {
    assert.equal(inZone(late, zone), day, zone);
  }
  // 00:30 in Berlin in summer, 23:30 in winter.
  assert.equal(inZone(1782945000, 'Europe/Berlin'), '2026-07-02');
  assert.equal(inZone(1767306600, 'Europe/Berlin'), '2026-01-01');
  assert.throws(() => inZone(0, 'Mars/Olympus'), refused('settings'));
  assert.throws(() => inZone(NaN, 'UTC'), refused('time-out-of-range'));
  assert.equal(dats('2026-11-20'), '20261120');
  assert.equal(daysAfter('2026-11-20', 14), '2026-12-04');
  assert.throws(() => daysAfter('2026-02-30', 1), refused('unreadable-date'));
  assert.equal(toIso(late), '2026-11-20T23:30:00Z');
});

test('days are those of every zone that the language knows', () => {
  for (const zone of ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'America/Sao_Paulo', 'Pacific/Apia', 'Africa/Cairo']) {
    const theirs = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
    for (let seconds = 946684800; seconds < 2500000000; seconds += 7919 * 61) {
      const day = inZone(seconds, zone);
      assert.equal(day, theirs.format(new Date(seconds * 1000)), `${zone} ${seconds}`);
      const start = startOfDay(day, zone);
      assert.ok(start <= seconds && inZone(start, zone) === day && inZone(start - 1, zone) < day, `${zone} ${day}`);
    }
  }
});

test('what does not fit a field is refused with its name', () => {
  const name = field('NAME', 5);
  assert.equal(name.text('Zoëés'), 'Zoëés');
  assert.throws(() => name.text('Jenny Rosen'), /NAME: "Jenny Rosen" has 11 characters, the field holds 5/);
  assert.throws(() => name.text('a\nb'), refused('does-not-fit'));
  assert.throws(() => name.required(''), refused('does-not-fit'));
  assert.equal(name.shortened('Jenny\tRosen'), 'Jenn…');
  assert.equal(alpha(field('CUSTOMER', 10), '4711'), '0000004711');
  assert.equal(alpha(field('CUSTOMER', 10), 'c-17'), 'C-17');
  assert.equal(numc(field('ITM_NUMBER', 6), 10), '000010');
});

test('a short reference is the one of the other SDKs', () => {
  assert.equal(shortReference('ch_3QabcDEF0123456789abcdef'), 'R144WJGG6ZXJ677C');
  assert.equal(shortPrefix('ch_3QabcDEF0123456789abcdef', 8), 'R144WJGG');
  assert.equal(shortReference('é').length, 16);
});

const input = (facts = []) => ({ event: { payload: '{}' }, environment: 'qa', attempt: 1, settings: {}, facts });

test('what is asked together is missing together and once, and absence is an answer', () => {
  const mapping = { map: (cx) => skip(JSON.stringify(cx.all([lookup('t', 'a'), query('erp', 'o', { b: 1, a: 2 }), lookup('t', 'a')]))) };
  const { need } = transform(mapping, input());
  assert.equal(need.length, 2);
  const facts = [{ need: need[0], answer: 'absent' }, { need: { query: { operation: 'o', parameters: { a: 2, b: 1 }, connection: 'erp' } }, answer: { found: 7 } }];
  assert.deepEqual(transform(mapping, input(facts)), { skip: '[null,7,null]' });
  facts[0] = { need: need[0], answer: { failed: { code: 'forbidden', message: 'no' } } };
  assert.match(transform(mapping, input(facts)).reject[0].message, /was refused: forbidden: no/);
});

test('every end is an outcome, and a mistake is none', () => {
  const end = (map) => transform({ map }, input());
  const plan = { deliveries: [{ key: 'k', connection: 'erp', operation: 'o', body: {}, unless: always('f', {}, '/id'), ledger: [debit('1', '-2.50', 'USD'), credit('2', '-2.50', 'USD')] }] };
  assert.deepEqual(end(() => plan).deliver.deliveries[0].ledger.map(({ side, amount }) => [side, amount]), [['credit', '2.50'], ['debit', '2.50']]);
  assert.equal(end(() => hold('look', plan)).hold.plan.deliveries[0].key, 'k');
  assert.deepEqual(end(() => defer('not yet', 5)), { defer: { reason: 'not yet', 'not-before': 5 } });
  assert.deepEqual(end(() => reject('/x', 'c', 'm')), { reject: [{ pointer: '/x', code: 'c', message: 'm' }] });
  assert.deepEqual(end(() => captured({ id: 'ch_1', captured: false })), { skip: 'ch_1 is authorized, not captured: no money has moved' });
  assert.throws(() => end(() => null.x), TypeError);
  assert.throws(() => end(() => ({ deliveries: [{ key: 'k' }] })), /a delivery needs a connection/);
  assert.throws(() => end(() => ({ deliveries: [{ ...plan.deliveries[0], afters: [] }] })), /has no field afters/);
});

test('what is no plan is a mistake, and an empty one is none', () => {
  const end = (map) => transform({ map }, input());
  const nothing = { 'ordering-key': null, deliveries: [], references: [], alerts: [] };
  assert.deepEqual(end(() => ({})).deliver, nothing);
  assert.deepEqual(end(() => ({ deliveries: [] })).deliver, nothing);
  for (const wrong of [undefined, null, [], 'plan', 7, Promise.resolve({}), new Error('x'), new Date(0), new Map()]) {
    assert.throws(() => end(() => wrong), /TypeError: a mapping returned .* is no plan/, String(wrong));
  }
  assert.throws(() => end(() => ({ delivery: [] })), /a plan has no field delivery/);
  assert.throws(() => end(() => hold('look')), /is no plan/);
  const alert = { severity: 'info', code: 'c', title: 't' };
  assert.deepEqual(end(() => ({ alerts: [alert] })).deliver.alerts, [{ ...alert, detail: {} }]);
});

test('a number that may have been rounded goes nowhere', () => {
  const end = (body, parameters = {}) =>
    transform({ map: () => ({ deliveries: [{ key: 'k', connection: 'erp', operation: 'o', body, unless: always('f', parameters, '/id') }] }) }, input());
  const good = { lines: [{ qty: 1, price: Decimal.parse('0.30'), day: new Date(0), zero: -0, none: undefined }], text: '0.3' };
  assert.equal(end(good).deliver.deliveries.length, 1);
  assert.throws(() => end({ lines: [{ 'a/b~': 0.1 + 0.2 }] }), /the body of k has 0\.30000000000000004 at "\/lines\/0\/a~1b~0"/);
  assert.throws(() => end({}, { amount: 49.98 }), /the existence check of k has 49\.98 at "\/amount"/);
  for (const wrong of [NaN, Infinity, 2 ** 53, 5n]) assert.throws(() => end({ wrong }), TypeError);
});

test('a description has every field of the contract', () => {
  const description = { name: 'm', version: '1.0.0', summary: 's', serves: [], connections: [{ name: 'erp', connector: 'epicor', operations: [] }] };
  assert.equal(described({ description }).connections[0].optional, false);
  assert.deepEqual(described({ description })['settings-schema'], { type: 'object' });
});

test('decimals and amounts have no operators that would treat them as texts', () => {
  const [nine, ten] = [new Money(900, 'usd'), new Money(1000, 'usd')];
  for (const one of [() => nine.decimal() > ten.decimal(), () => nine > ten, () => nine + ten, () => nine.decimal() + 1]) {
    assert.throws(one, /TypeError: .* no operators/);
  }
  assert.equal(`${nine.decimal()} of ${ten}`, '9.00 of 10.00 USD');
});

test('who catches a Stop is told so', () => {
  const input = { event: { payload: '{}' }, environment: 'sandbox', attempt: 1, settings: {}, facts: [] };
  const caught = (end) => () => transform({ map: (cx) => { try { cx.lookup('customers', 'x'); } catch { /* wrong */ } return end(); } }, input);
  assert.throws(caught(() => ({})), /TypeError: a Stop was caught, so .*customers/);
  assert.throws(caught(() => skip('made up')), /TypeError: a Stop was caught/);
});
