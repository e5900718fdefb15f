// Parts of a plan. A plan is data: object literals, with these for what is written often.

import { Decimal } from './money.js';

/** Asked before the first send too: somebody else may have made the document. */
export const always = (operation, parameters, hit) => ({ when: 'always', operation, parameters, hit });

/** Asked only when an earlier send may have been carried out, after a redrive, and after a restore. */
export const inDoubt = (operation, parameters, hit) => ({ when: 'in-doubt', operation, parameters, hit });

/** Remembers the id at `pointer` of the response as what `system` calls the object. */
export const capture = (kind, id, system, pointer) => ({ key: { kind, id }, system, pointer });

/** An accounting line on the debit side; a negative amount stands on the other. */
export const debit = (account, amount, currency) => line('debit', account, amount, currency);

/** An accounting line on the credit side; a negative amount stands on the other. */
export const credit = (account, amount, currency) => line('credit', account, amount, currency);

function line(side, account, amount, currency) {
  const value = Decimal.parse(amount);
  if (!value.isNegative()) return { account, side, amount: value.toString(), currency };
  return { account, side: side === 'debit' ? 'credit' : 'debit', amount: value.negated().toString(), currency };
}

const PLAN_FIELDS = new Set(['orderingKey', 'deliveries', 'references', 'alerts']);

/** A plan with every field of the contract, from what a mapping returned. What is no plan is a mistake: nothing would be
 * posted, and the event would count as delivered. */
export function wholePlan(plan) {
  checkPlan(plan);
  return {
    'ordering-key': plan.orderingKey ?? null,
    deliveries: (plan.deliveries ?? []).map(wholeDelivery),
    references: plan.references ?? [],
    alerts: (plan.alerts ?? []).map((alert) => ({ ...alert, detail: alert.detail ?? {} })),
  };
}

function checkPlan(plan) {
  const wanted = 'return a plan (an empty object is one in which nothing is done), or end with skip(…)';
  if (plan === null || typeof plan !== 'object' || Array.isArray(plan)) {
    throw new TypeError(`a mapping returned ${Array.isArray(plan) ? 'an array' : String(plan)}, which is no plan: ${wanted}`);
  }
  const names = Object.keys(plan);
  const unknown = names.find((name) => !PLAN_FIELDS.has(name));
  if (unknown !== undefined) throw new TypeError(`a plan has no field ${unknown}, only ${[...PLAN_FIELDS].join(', ')}`);
  const prototype = Object.getPrototypeOf(plan);
  if (names.length === 0 && prototype !== null && prototype !== Object.prototype) {
    // A promise, an error: they have no fields either, and nobody meant them as a plan.
    throw new TypeError(`a mapping returned ${Object.prototype.toString.call(plan)}, which is no plan: ${wanted}`);
  }
}

/** Refuses numbers that JavaScript may have rounded: an amount is a text or a Decimal. */
function checkNumbers(value, pointer, where) {
  if (typeof value === 'bigint' || (typeof value === 'number' && !Number.isSafeInteger(value))) {
    throw new TypeError(`${where} has ${value} at "${pointer}", which is no whole number that is exact: write it as a text or a Decimal`);
  }
  if (value === null || typeof value !== 'object') return;
  if (typeof value.toJSON === 'function') {
    const json = value.toJSON();
    if (json !== value) checkNumbers(json, pointer, where);
    return;
  }
  for (const [name, one] of Object.entries(value)) {
    checkNumbers(one, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, where);
  }
}

const FIELDS = new Set('key connection operation body after bindings once unless captures ledger'.split(' '));

function wholeDelivery(delivery) {
  const unknown = Object.keys(delivery).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) throw new TypeError(`a delivery has no field ${unknown}, only ${[...FIELDS].join(', ')}`);
  for (const name of ['key', 'connection', 'operation', 'body']) {
    if (delivery[name] === undefined) throw new TypeError(`a delivery needs a ${name}`);
  }
  checkNumbers(delivery.body, '', `the body of ${delivery.key}`);
  if (delivery.unless) checkNumbers(delivery.unless.parameters, '', `the existence check of ${delivery.key}`);
  return {
    key: delivery.key,
    connection: delivery.connection,
    operation: delivery.operation,
    body: delivery.body,
    after: delivery.after ?? [],
    bindings: delivery.bindings ?? [],
    once: delivery.once ?? null,
    unless: delivery.unless ? { bindings: [], ...delivery.unless } : null,
    captures: delivery.captures ?? [],
    ledger: delivery.ledger ?? [],
  };
}
