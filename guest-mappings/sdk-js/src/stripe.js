// Stripe's objects, as much of them as the beginning of a mapping needs.

import { Money } from './money.js';
import { Reject, Skip } from './stop.js';

/** The object of a Stripe event. */
export function objectOf(cx) {
  const object = cx.payload()?.data?.object;
  if (object === null || typeof object !== 'object') {
    throw new Reject([{ pointer: '/data/object', code: 'unreadable-payload', message: 'the event has no object' }]);
  }
  return object;
}

/** What was really captured of a charge. A skip, when it is only authorized, or nothing was captured. */
export function captured(charge) {
  if (charge.captured !== true) throw new Skip(`${charge.id} is authorized, not captured: no money has moved`);
  const minor = charge.amount_captured ?? charge.amount;
  if (minor === 0) throw new Skip(`nothing of ${charge.id} was captured`);
  if (!Number.isSafeInteger(minor) || minor < 0 || minor > charge.amount) {
    const message = `captured ${minor} of ${charge.amount} is impossible`;
    throw new Reject([{ pointer: '/data/object/amount_captured', code: 'impossible-amount', message }]);
  }
  return new Money(minor, charge.currency);
}
