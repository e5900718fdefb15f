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
  const value = amount instanceof Decimal ? amount : Decimal.parse(amount);
  if (!value.isNegative()) return { account, side, amount: value.toString(), currency };
  return { account, side: side === 'debit' ? 'credit' : 'debit', amount: value.negated().toString(), currency };
}

/** A plan with every field of the contract, from what a mapping returned. */
export function wholePlan(plan) {
  return {
    'ordering-key': plan.orderingKey ?? null,
    deliveries: (plan.deliveries ?? []).map(wholeDelivery),
    references: plan.references ?? [],
    alerts: plan.alerts ?? [],
  };
}

const FIELDS = new Set('key connection operation body after bindings once unless captures ledger'.split(' '));

function wholeDelivery(delivery) {
  const unknown = Object.keys(delivery).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) throw new TypeError(`a delivery has no field ${unknown}, only ${[...FIELDS].join(', ')}`);
  for (const name of ['key', 'connection', 'operation', 'body']) {
    if (delivery[name] === undefined) throw new TypeError(`a delivery needs a ${name}`);
  }
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
